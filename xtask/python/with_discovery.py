"""The server is found by multicast DNS and by WS-Discovery, tells what it is, and says goodbye.

Arguments: its address, its port, and more that is not used but the fourth, a file to make once it was found.
"""

import pathlib
import sys
import threading
import time
import urllib.error
import urllib.request

from wsdiscovery import QName
from wsdiscovery.discovery import ThreadedWSDiscovery
from zeroconf import ServiceBrowser, ServiceListener, Zeroconf

ADDRESS, PORT, FOUND = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[4])
PATIENCE = 30
PUBLICATION = "http://schemas.microsoft.com/windows/pub/2005/07"

GET = """<?xml version="1.0" encoding="utf-8"?>
<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"
  xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing"><s:Header><a:To>%s</a:To>
  <a:Action>http://schemas.xmlsoap.org/ws/2004/09/transfer/Get</a:Action>
  <a:MessageID>urn:uuid:5c8a3a0e-0000-4000-8000-000000000001</a:MessageID></s:Header><s:Body/></s:Envelope>"""


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        result = condition()
        if result:
            return result
        time.sleep(0.1)
    raise SystemExit("waited in vain")


class Seen(ServiceListener):
    def __init__(self):
        self.names, self.gone = set(), threading.Event()

    def add_service(self, zeroconf, kind, name):
        self.names.add(name)

    def update_service(self, zeroconf, kind, name):
        pass

    def remove_service(self, zeroconf, kind, name):
        self.gone.set()


zeroconf, smb, info, disks = Zeroconf(interfaces=[ADDRESS]), Seen(), Seen(), Seen()
ServiceBrowser(zeroconf, "_smb._tcp.local.", smb)
ServiceBrowser(zeroconf, "_device-info._tcp.local.", info)
ServiceBrowser(zeroconf, "_adisk._tcp.local.", disks)
name = until(lambda: next(iter(smb.names), None))
service = zeroconf.get_service_info("_smb._tcp.local.", name, 5000)
assert service.port == PORT, service
assert service.parsed_addresses() == [ADDRESS], service
device = until(lambda: next(iter(info.names), None))
properties = zeroconf.get_service_info("_device-info._tcp.local.", device, 5000).properties
assert properties[b"model"] == b"RackMac", properties
disk = until(lambda: next(iter(disks.names), None))
properties = zeroconf.get_service_info("_adisk._tcp.local.", disk, 5000).properties
assert properties[b"sys"] == b"waMa=0,adVF=0x100", properties
assert properties[b"dk0"].startswith(b"adVN=backups,adVF=0x82,adVU="), properties
assert b"dk1" not in properties, properties
label = name.split(".")[0]
print("multicast DNS:", name, service.server)

discovery = ThreadedWSDiscovery()
discovery.start()
computers = QName(PUBLICATION, "Computer")
found = until(lambda: discovery.searchServices(types=[computers], timeout=2))
assert len(found) == 1, found
[place] = found[0].getXAddrs()
assert place.startswith("http://%s:" % ADDRESS), place
printers = QName("http://schemas.microsoft.com/windows/2006/08/wdp/print", "PrintDeviceType")
discovery.clearRemoteServices()
assert discovery.searchServices(types=[printers], timeout=2) == []


def post(url, text):
    request = urllib.request.Request(url, text.encode(), {"Content-Type": "application/soap+xml"})
    with urllib.request.urlopen(request, timeout=10) as response:
        return response.read().decode()


told = post(place, GET % found[0].getEPR())
assert ">%s/Workgroup:WORKGROUP</pub:Computer>" % label in told, told
for url, text, status in [(place + "x", GET, 404), (place, "nonsense", 400), (place, "x" * 20000, 413)]:
    try:
        post(url, text)
        raise SystemExit("answered what it should refuse")
    except urllib.error.HTTPError as error:
        assert error.code == status, (error.code, status)
print("WS-Discovery:", place)

left = threading.Event()
discovery.setRemoteServiceByeCallback(lambda service: left.set())
discovery.searchServices(types=[computers], timeout=2)
FOUND.touch()
assert smb.gone.wait(PATIENCE), "no goodbye by multicast DNS"
assert left.wait(PATIENCE), "no goodbye by WS-Discovery"
discovery.stop()
zeroconf.close()
print("done")

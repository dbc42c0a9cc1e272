//! One SMB client for tests and benchmarks: always signed, one method a request, so that what goes over the wire is
//! what the caller wrote and nothing else.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use smb2::client::connection::Connection;
use smb2::msg::close::CloseRequest;
use smb2::msg::create::{
    CreateDisposition, CreateRequest, CreateResponse, ImpersonationLevel, ShareAccess,
};
use smb2::msg::flush::FlushRequest;
use smb2::msg::query_directory::{
    FileInformationClass, QueryDirectoryFlags, QueryDirectoryRequest, QueryDirectoryResponse,
};
use smb2::msg::query_info::{InfoType, QueryInfoRequest, QueryInfoResponse};
use smb2::msg::read::{ReadRequest, ReadResponse};
use smb2::msg::set_info::SetInfoRequest;
use smb2::msg::write::{WriteRequest, WriteResponse};
use smb2::pack::{Pack, ReadCursor, Unpack};
use smb2::types::flags::FileAccessMask;
use smb2::types::status::NtStatus;
use smb2::types::{Command, CreditCharge, FileId, OplockLevel};
use smb2::{ClientConfig, Frame, SmbClient, Tree};

/// Where to connect and as whom.
#[derive(Debug, Clone)]
pub struct Target {
    pub address: SocketAddr,
    pub share: String,
    pub user: String,
    pub password: String,
}

/// One connection with one session and one share.
pub struct Client {
    inner: SmbClient,
    connection: Connection,
    tree: Tree,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Client")
            .field("tree", &self.tree)
            .finish_non_exhaustive()
    }
}

/// A server's refusal, with the status it gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    pub command: Command,
    pub status: NtStatus,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "{:?} was answered with {:?}",
            self.command, self.status
        )
    }
}

impl std::error::Error for Refusal {}

const FILE_DIRECTORY_FILE: u32 = 0x0000_0001;
const FILE_NON_DIRECTORY_FILE: u32 = 0x0000_0040;
const READ: u32 = FileAccessMask::FILE_READ_DATA | FileAccessMask::FILE_READ_ATTRIBUTES;
const WRITE: u32 = FileAccessMask::FILE_WRITE_DATA | FileAccessMask::FILE_WRITE_ATTRIBUTES;
const DELETE: u32 = FileAccessMask::DELETE | FileAccessMask::FILE_READ_ATTRIBUTES;
/// MS-FSCC 2.4: the file information classes used here.
const FILE_RENAME_INFORMATION: u8 = 10;
const FILE_DISPOSITION_INFORMATION: u8 = 13;
const FILE_NETWORK_OPEN_INFORMATION: u8 = 34;

impl Client {
    pub async fn connect(target: &Target) -> Result<Client> {
        Self::connect_with(config(target), target).await
    }

    /// One that compresses with LZ4 what gets shorter by it.
    pub async fn connect_compressing(target: &Target) -> Result<Client> {
        let config = ClientConfig {
            compression: true,
            ..config(target)
        };
        Self::connect_with(config, target).await
    }

    async fn connect_with(config: ClientConfig, target: &Target) -> Result<Client> {
        let mut inner = SmbClient::connect(config).await.context("logon")?;
        let tree = inner
            .connect_share(&target.share)
            .await
            .context("tree connect")?;
        let connection = inner.connection().clone();
        let client = Client {
            inner,
            connection,
            tree,
        };
        ensure!(client.signs(), "the client does not sign");
        Ok(client)
    }

    /// Whether compression was agreed on.
    pub fn compresses(&self) -> bool {
        self.connection.diagnostics().compression.negotiated
    }

    /// Whether the share had everything encrypted from now on.
    pub fn encrypts(&self) -> bool {
        self.connection.diagnostics().encryption.active
    }

    fn signs(&self) -> bool {
        self.connection.diagnostics().signing.active
    }

    /// The dialect and the signing algorithm agreed on, for people to read.
    pub fn agreed(&self) -> String {
        let diagnostics = self.connection.diagnostics();
        let dialect = diagnostics.negotiated.map(|n| n.dialect.to_string());
        let signing = diagnostics.signing.algorithm.map(|a| format!("{a:?}"));
        if diagnostics.encryption.active {
            let cipher = diagnostics.encryption.cipher.map(|c| format!("{c:?}"));
            return format!(
                "{}, encrypted with {}",
                dialect.unwrap_or_default(),
                cipher.unwrap_or_default()
            );
        }
        format!(
            "{}, signed with {}",
            dialect.unwrap_or_default(),
            signing.unwrap_or_default()
        )
    }

    /// The client crate's own object, for its higher calls.
    pub fn inner(&mut self) -> (&mut SmbClient, &mut Tree) {
        (&mut self.inner, &mut self.tree)
    }

    /// Another owner of the same connection, for requests in flight at once.
    pub fn share(&self) -> Requests {
        Requests {
            connection: self.connection.clone(),
            tree: self.tree.tree_id,
        }
    }

    pub async fn disconnect(mut self) -> Result<()> {
        self.inner.disconnect_share(&self.tree).await?;
        Ok(())
    }
}

fn config(target: &Target) -> ClientConfig {
    ClientConfig {
        addr: target.address.to_string(),
        username: target.user.clone(),
        password: target.password.clone(),
        timeout: Duration::from_secs(10),
        response_timeout: Some(Duration::from_secs(60)),
        compression: false,
        dfs_enabled: false,
        auto_reconnect: false,
        ..ClientConfig::default()
    }
}

/// The requests of one tree on one connection.
#[derive(Clone)]
pub struct Requests {
    connection: Connection,
    tree: smb2::types::TreeId,
}

impl std::fmt::Debug for Requests {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Requests")
            .field("tree", &self.tree)
            .finish_non_exhaustive()
    }
}

impl Requests {
    async fn send(&self, command: Command, body: &dyn Pack, payload: usize) -> Result<Frame> {
        let charge = u16::try_from(payload.div_ceil(65536).max(1))?;
        let frame = self
            .connection
            .execute_with_credits(command, body, Some(self.tree), CreditCharge(charge))
            .await
            .with_context(|| format!("{command:?}"))?;
        let status = frame.header.status;
        if status == NtStatus::SUCCESS {
            return Ok(frame);
        }
        bail!(Refusal { command, status })
    }

    async fn create(
        &self,
        path: &str,
        access: u32,
        disposition: CreateDisposition,
        options: u32,
    ) -> Result<CreateResponse> {
        let all = ShareAccess::FILE_SHARE_READ
            | ShareAccess::FILE_SHARE_WRITE
            | ShareAccess::FILE_SHARE_DELETE;
        self.create_sharing(path, access, disposition, options, all)
            .await
    }

    async fn create_sharing(
        &self,
        path: &str,
        access: u32,
        disposition: CreateDisposition,
        options: u32,
        share: u32,
    ) -> Result<CreateResponse> {
        let request = CreateRequest {
            requested_oplock_level: OplockLevel::None,
            impersonation_level: ImpersonationLevel::Impersonation,
            desired_access: FileAccessMask::new(access | FileAccessMask::SYNCHRONIZE),
            file_attributes: 0,
            share_access: ShareAccess(share),
            create_disposition: disposition,
            create_options: options,
            name: path.replace('/', "\\"),
            create_contexts: Vec::new(),
        };
        let frame = self.send(Command::Create, &request, 0).await?;
        Ok(CreateResponse::unpack(&mut ReadCursor::new(&frame.body))?)
    }

    /// Makes a file that must not exist yet.
    pub async fn create_file(&self, path: &str) -> Result<FileId> {
        let options = FILE_NON_DIRECTORY_FILE;
        Ok(self
            .create(path, READ | WRITE, CreateDisposition::FileCreate, options)
            .await?
            .file_id)
    }

    /// Makes or empties a file.
    pub async fn overwrite_file(&self, path: &str) -> Result<FileId> {
        let (how, options) = (CreateDisposition::FileOverwriteIf, FILE_NON_DIRECTORY_FILE);
        Ok(self.create(path, READ | WRITE, how, options).await?.file_id)
    }

    /// Opens a file that must exist, to read and write it.
    pub async fn open_to_write(&self, path: &str) -> Result<FileId> {
        let (how, options) = (CreateDisposition::FileOpen, FILE_NON_DIRECTORY_FILE);
        Ok(self.create(path, READ | WRITE, how, options).await?.file_id)
    }

    /// Opens a file that nobody else may have open, for anything.
    pub async fn open_alone(&self, path: &str) -> Result<FileId> {
        let (how, options) = (CreateDisposition::FileOpen, FILE_NON_DIRECTORY_FILE);
        let access = READ | WRITE | DELETE;
        let answer = self.create_sharing(path, access, how, options, 0).await?;
        Ok(answer.file_id)
    }

    /// Opens a file to read; also gives its size.
    pub async fn open_file(&self, path: &str) -> Result<(FileId, u64)> {
        let options = FILE_NON_DIRECTORY_FILE;
        let answer = self
            .create(path, READ, CreateDisposition::FileOpen, options)
            .await?;
        Ok((answer.file_id, answer.end_of_file))
    }

    pub async fn create_directory(&self, path: &str) -> Result<()> {
        let options = FILE_DIRECTORY_FILE;
        let answer = self
            .create(path, READ, CreateDisposition::FileCreate, options)
            .await?;
        self.close(answer.file_id).await
    }

    pub async fn open_directory(&self, path: &str) -> Result<FileId> {
        let options = FILE_DIRECTORY_FILE;
        Ok(self
            .create(path, READ, CreateDisposition::FileOpen, options)
            .await?
            .file_id)
    }

    pub async fn write(&self, file: FileId, offset: u64, data: Vec<u8>) -> Result<()> {
        let len = data.len();
        let request = WriteRequest {
            data_offset: 112,
            offset,
            file_id: file,
            channel: 0,
            remaining_bytes: 0,
            write_channel_info_offset: 0,
            write_channel_info_length: 0,
            flags: 0,
            data,
        };
        let frame = self.send(Command::Write, &request, len).await?;
        let answer = WriteResponse::unpack(&mut ReadCursor::new(&frame.body))?;
        ensure!(
            usize::try_from(answer.count)? == len,
            "short write: {} of {len}",
            answer.count
        );
        Ok(())
    }

    pub async fn read(&self, file: FileId, offset: u64, length: u32) -> Result<Vec<u8>> {
        let request = ReadRequest {
            padding: 0x50,
            flags: 0,
            length,
            offset,
            file_id: file,
            minimum_count: 0,
            channel: 0,
            remaining_bytes: 0,
            read_channel_info: Vec::new(),
        };
        let frame = self
            .send(Command::Read, &request, usize::try_from(length)?)
            .await?;
        Ok(ReadResponse::unpack(&mut ReadCursor::new(&frame.body))?.data)
    }

    /// Everything in an open file, in pieces of 1 MiB.
    pub async fn read_all(&self, file: FileId, size: u64) -> Result<Vec<u8>> {
        const PIECE: u64 = 1 << 20;
        let mut content = Vec::new();
        while (content.len() as u64) < size {
            let at = content.len() as u64;
            let piece = self
                .read(file, at, u32::try_from(PIECE.min(size - at))?)
                .await?;
            ensure!(!piece.is_empty(), "the file ends at {at} of {size}");
            content.extend_from_slice(&piece);
        }
        Ok(content)
    }

    pub async fn flush(&self, file: FileId) -> Result<()> {
        self.send(Command::Flush, &FlushRequest { file_id: file }, 0)
            .await?;
        Ok(())
    }

    pub async fn close(&self, file: FileId) -> Result<()> {
        self.send(
            Command::Close,
            &CloseRequest {
                flags: 0,
                file_id: file,
            },
            0,
        )
        .await?;
        Ok(())
    }

    /// Asks for times, sizes and attributes of an open file, as file managers do.
    pub async fn query(&self, file: FileId) -> Result<Vec<u8>> {
        let request = QueryInfoRequest {
            info_type: InfoType::File,
            file_info_class: FILE_NETWORK_OPEN_INFORMATION,
            output_buffer_length: 56,
            additional_information: 0,
            flags: 0,
            file_id: file,
            input_buffer: Vec::new(),
        };
        let frame = self.send(Command::QueryInfo, &request, 0).await?;
        Ok(QueryInfoResponse::unpack(&mut ReadCursor::new(&frame.body))?.output_buffer)
    }

    /// Open, ask, close: three requests.
    pub async fn stat(&self, path: &str) -> Result<()> {
        let access = FileAccessMask::FILE_READ_ATTRIBUTES;
        let file = self
            .create(path, access, CreateDisposition::FileOpen, 0)
            .await?
            .file_id;
        ensure!(
            self.query(file).await?.len() == 56,
            "the answer is not 56 bytes long"
        );
        self.close(file).await
    }

    /// Open, mark for deletion, close: three requests.
    pub async fn delete(&self, path: &str) -> Result<()> {
        let file = self
            .create(path, DELETE, CreateDisposition::FileOpen, 0)
            .await?
            .file_id;
        self.set_info(file, FILE_DISPOSITION_INFORMATION, vec![1])
            .await?;
        self.close(file).await
    }

    /// Open, rename, close: three requests.
    pub async fn rename(&self, from: &str, to: &str, replace: bool) -> Result<()> {
        let file = self
            .create(from, DELETE, CreateDisposition::FileOpen, 0)
            .await?
            .file_id;
        let renamed = self.set_info(file, FILE_RENAME_INFORMATION, rename_buffer(to, replace)?);
        let outcome = renamed.await;
        self.close(file).await?;
        outcome
    }

    async fn set_info(&self, file: FileId, class: u8, buffer: Vec<u8>) -> Result<()> {
        let request = SetInfoRequest {
            info_type: InfoType::File,
            file_info_class: class,
            additional_information: 0,
            file_id: file,
            buffer,
        };
        self.send(Command::SetInfo, &request, 0).await?;
        Ok(())
    }

    /// The names in a directory, without `.` and `..`.
    pub async fn list(&self, path: &str) -> Result<Vec<String>> {
        let directory = self.open_directory(path).await?;
        let mut names = Vec::new();
        loop {
            match self.query_directory(directory).await {
                Ok(buffer) => read_names(&buffer, &mut names)?,
                Err(error) if is_refusal(&error, NtStatus::NO_MORE_FILES) => break,
                Err(error) => return Err(error),
            }
        }
        self.close(directory).await?;
        names.retain(|name| name != "." && name != "..");
        Ok(names)
    }

    async fn query_directory(&self, directory: FileId) -> Result<Vec<u8>> {
        let request = QueryDirectoryRequest {
            file_information_class: FileInformationClass::FileIdBothDirectoryInformation,
            flags: QueryDirectoryFlags(0),
            file_index: 0,
            file_id: directory,
            output_buffer_length: 65536,
            file_name: "*".to_owned(),
        };
        let frame = self.send(Command::QueryDirectory, &request, 65536).await?;
        Ok(QueryDirectoryResponse::unpack(&mut ReadCursor::new(&frame.body))?.output_buffer)
    }
}

/// True if the server refused with exactly this status.
pub fn is_refusal(error: &anyhow::Error, status: NtStatus) -> bool {
    error
        .downcast_ref::<Refusal>()
        .is_some_and(|refusal| refusal.status == status)
}

/// MS-SMB2 2.2.39 (FILE_RENAME_INFORMATION_TYPE_2 of MS-FSCC 2.4.37.2).
fn rename_buffer(to: &str, replace: bool) -> Result<Vec<u8>> {
    let name: Vec<u8> = to
        .replace('/', "\\")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let mut buffer = vec![0; 16];
    buffer[0] = u8::from(replace);
    buffer.extend_from_slice(&u32::try_from(name.len())?.to_le_bytes());
    buffer.extend_from_slice(&name);
    Ok(buffer)
}

/// The names in a chain of `FileIdBothDirectoryInformation` (MS-FSCC 2.4.17).
fn read_names(buffer: &[u8], names: &mut Vec<String>) -> Result<()> {
    let mut rest = buffer;
    loop {
        let length = usize::try_from(number_at(rest, 60)?)?;
        let name = rest.get(104..104 + length).context("a name is cut off")?;
        let units: Vec<u16> = name
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .collect();
        names.push(String::from_utf16(&units)?);
        match usize::try_from(number_at(rest, 0)?)? {
            0 => return Ok(()),
            next => {
                rest = rest
                    .get(next..)
                    .context("an entry lies outside the answer")?
            }
        }
    }
}

fn number_at(bytes: &[u8], at: usize) -> Result<u32> {
    let field = bytes.get(at..at + 4).context("an entry is cut off")?;
    Ok(u32::from_le_bytes(field.try_into()?))
}

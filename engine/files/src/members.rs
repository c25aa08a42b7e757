//! Compressed files of several streams. Tools that compress in parallel (pbzip2, pixz, pzstd) and
//! `cat` write several compressed streams one after the other. By default a decoder stops after the
//! first one and silently drops the rest. DataFusion configures its decoders for files on disk and
//! for gzip, but not for other files from a bucket or a web server. Tapes and some tools fill the
//! end of a gzip file with zeros, which gzip itself passes over.
//!
//! [`decompress`] is how this crate decompresses; [`to_their_ends`] makes a scan of DataFusion's do
//! so.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;

use async_compression::tokio::bufread::{BzDecoder, GzipDecoder, XzDecoder, ZstdDecoder};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::physical_plan::{
    FileOpener, FileScanConfig, FileScanConfigBuilder, FileSource,
};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::Result as PlanResult;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_plan::DisplayFormatType;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use flate2::bufread::GzDecoder;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};
use tokio_util::io::{ReaderStream, StreamReader};

/// Bytes out of a decoder at a time: enough to make the switch of threads cheap, and little memory.
const CHUNK_BYTES: usize = 256 * 1024;

/// The content of a compressed file, with all of its streams.
pub(crate) fn decompress<E>(
    stored: BoxStream<'static, Result<Bytes, E>>,
    compression: CompressionTypeVariant,
) -> BoxStream<'static, std::io::Result<Bytes>>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let stored = stored.map_err(std::io::Error::other);
    macro_rules! all_of {
        ($decoder:ident) => {{
            let mut decoder = $decoder::new(StreamReader::new(stored));
            decoder.multiple_members(true);
            ReaderStream::with_capacity(decoder, CHUNK_BYTES).boxed()
        }};
    }
    match compression {
        CompressionTypeVariant::GZIP => gunzip(StreamReader::new(stored)),
        CompressionTypeVariant::BZIP2 => all_of!(BzDecoder),
        CompressionTypeVariant::XZ => all_of!(XzDecoder),
        CompressionTypeVariant::ZSTD => all_of!(ZstdDecoder),
        CompressionTypeVariant::UNCOMPRESSED => stored.boxed(),
    }
}

/// The content of a gzip file: all of its streams, and zeros between and after them.
fn gunzip<R: AsyncBufRead + Send + Unpin + 'static>(
    stored: R,
) -> BoxStream<'static, std::io::Result<Bytes>> {
    let next = |decoder: Option<GzipDecoder<R>>| async move {
        let Some(mut decoder) = decoder else { return Ok(None) };
        loop {
            let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
            if decoder.read_buf(&mut chunk).await? > 0 {
                return Ok(Some((chunk.freeze(), Some(decoder))));
            }
            let mut rest = decoder.into_inner();
            loop {
                let bytes = rest.fill_buf().await?;
                if bytes.is_empty() {
                    return Ok(None);
                }
                let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
                if zeros == 0 {
                    break;
                }
                rest.consume(zeros);
            }
            decoder = GzipDecoder::new(rest);
        }
    };
    futures::stream::try_unfold(Some(GzipDecoder::new(stored)), next).boxed()
}

/// The same for a file on disk.
pub(crate) fn gunzip_file(file: impl Read + Send + 'static) -> Box<dyn Read + Send> {
    Box::new(Gunzip { decoder: Some(GzDecoder::new(BufReader::new(file))) })
}

struct Gunzip<R> {
    /// `None` after the last stream.
    decoder: Option<GzDecoder<R>>,
}

impl<R: BufRead> Read for Gunzip<R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        while let Some(mut decoder) = self.decoder.take() {
            let n = decoder.read(out)?;
            if n > 0 || out.is_empty() {
                self.decoder = Some(decoder);
                return Ok(n);
            }
            let mut rest = decoder.into_inner();
            loop {
                let bytes = rest.fill_buf()?;
                let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
                if bytes.is_empty() {
                    return Ok(0);
                }
                if zeros == 0 {
                    break;
                }
                rest.consume(zeros);
            }
            self.decoder = Some(GzDecoder::new(rest));
        }
        Ok(0)
    }
}

/// The scan to run instead: files of which DataFusion would read only the first stream are
/// decompressed before its reader sees them. `None` if the scan is right as it is.
pub(crate) fn to_their_ends(scan: &FileScanConfig) -> Option<FileScanConfig> {
    let compression = CompressionTypeVariant::from(scan.file_compression_type);
    if compression == CompressionTypeVariant::UNCOMPRESSED
        || scan.object_store_url.as_str().starts_with("file:")
    {
        return None;
    }
    let source = Arc::new(Decompressed { inner: Arc::clone(scan.file_source()), compression });
    let scan = FileScanConfigBuilder::from(scan.clone())
        .with_file_compression_type(FileCompressionType::UNCOMPRESSED)
        .with_source(source);
    Some(scan.build())
}

/// A source that reads decompressed files.
struct Decompressed {
    inner: Arc<dyn FileSource>,
    compression: CompressionTypeVariant,
}

impl FileSource for Decompressed {
    fn create_file_opener(
        &self,
        object_store: Arc<dyn ObjectStore>,
        base_config: &FileScanConfig,
        partition: usize,
    ) -> PlanResult<Arc<dyn FileOpener>> {
        let store = DecompressedStore { inner: object_store, compression: self.compression };
        self.inner.create_file_opener(Arc::new(store), base_config, partition)
    }

    fn table_schema(&self) -> &TableSchema {
        self.inner.table_schema()
    }

    fn with_batch_size(&self, batch_size: usize) -> Arc<dyn FileSource> {
        let inner = self.inner.with_batch_size(batch_size);
        Arc::new(Self { inner, compression: self.compression })
    }

    fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
        self.inner.filter()
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.inner.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.inner.metrics()
    }

    fn file_type(&self) -> &str {
        self.inner.file_type()
    }

    fn fmt_extra(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_extra(kind, f)
    }

    fn supports_repartitioning(&self) -> bool {
        false
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> PlanResult<TreeNodeRecursion>,
    ) -> PlanResult<TreeNodeRecursion> {
        self.inner.apply_expressions(visit)
    }
}

/// A store whose files come decompressed. Only whole files can be read.
#[derive(Debug)]
struct DecompressedStore {
    inner: Arc<dyn ObjectStore>,
    compression: CompressionTypeVariant,
}

impl fmt::Display for DecompressedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for DecompressedStore {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if options.range.is_some() {
            return Err(only_read("a part of a compressed file"));
        }
        let found = self.inner.get_opts(location, options).await?;
        let (meta, range, attributes) =
            (found.meta.clone(), found.range.clone(), found.attributes.clone());
        let content = decompress(found.into_stream(), self.compression);
        let content = content.map_err(|error| match error.downcast::<Error>() {
            Ok(stores) => stores,
            Err(source) => Error::Generic { store: "a decoder", source: source.into() },
        });
        let payload = GetResultPayload::Stream(content.boxed());
        Ok(GetResult { payload, meta, range, attributes })
    }

    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(only_read("writing"))
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(only_read("writing"))
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        futures::stream::once(async { Err(only_read("deleting")) }).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(only_read("copying"))
    }
}

fn only_read(what: &str) -> Error {
    Error::NotSupported { source: format!("{what}, where files are decompressed").into() }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn packed(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    /// The content of a file that comes in pieces of `piece` bytes.
    async fn content(file: &[u8], piece: usize) -> std::io::Result<String> {
        let pieces: Vec<_> = file.chunks(piece).map(|piece| Ok(piece.to_vec().into())).collect();
        let stored = futures::stream::iter(pieces).boxed();
        let chunks = decompress::<Error>(stored, CompressionTypeVariant::GZIP);
        let chunks: std::io::Result<Vec<Bytes>> = chunks.try_collect().await;
        let mut on_disk = Vec::new();
        let read = gunzip_file(std::io::Cursor::new(file.to_vec())).read_to_end(&mut on_disk);
        assert_eq!(read.is_ok(), chunks.is_ok());
        let chunks = chunks?;
        assert_eq!(on_disk, chunks.concat());
        Ok(String::from_utf8(on_disk).unwrap())
    }

    #[tokio::test]
    async fn streams_of_gzip_are_read_to_the_end_and_zeros_passed_over() {
        let (one, other) = (packed("one\n"), packed("other\n"));
        let zeros = vec![0; 700];
        for piece in [1, 7, 10_000] {
            let both = [one.as_slice(), &other].concat();
            assert_eq!(content(&both, piece).await.unwrap(), "one\nother\n");
            let padded = [one.as_slice(), &zeros, &other, &zeros].concat();
            assert_eq!(content(&padded, piece).await.unwrap(), "one\nother\n");
            assert_eq!(content(&packed(""), piece).await.unwrap(), "");
            let cut = &both[..both.len() - 3];
            assert!(content(cut, piece).await.is_err(), "a file that is cut");
            let followed = [one.as_slice(), b"garbage"].concat();
            assert!(content(&followed, piece).await.is_err(), "something else follows");
        }
    }
}

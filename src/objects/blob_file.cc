#include "objects/blob_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <memory>

namespace consort::objects {
namespace {

constexpr std::string_view kMagic = "consobj1";
constexpr std::size_t kIndexEntryBytes = 12;
constexpr int kLevel = 3;

template <class Integer>
void put_little(std::string& out, Integer value) {
  for (std::size_t i = 0; i < sizeof value; ++i)
    out.push_back(static_cast<char>((value >> (8U * i)) & 0xFFU));
}

template <class Integer>
Integer get_little(std::string_view bytes) {
  Integer value = 0;
  for (std::size_t i = 0; i < sizeof value; ++i)
    value |= static_cast<Integer>(static_cast<std::uint8_t>(bytes[i])) << (8U * i);
  return value;
}

// Eight bytes of SHA-256: enough to tell damage from content; forgery is caught by the object's
// name.
std::uint64_t check_of(std::string_view chunk) {
  std::uint64_t value = 0;
  const auto digest = Digest::of(chunk);
  for (std::size_t i = 0; i < sizeof value; ++i)
    value |= static_cast<std::uint64_t>(digest.bytes().at(i)) << (8U * i);
  return value;
}

// Contexts are large (about 1 MB) and meant to be used again.
ZSTD_CCtx* compressor() {
  thread_local const std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)> context(ZSTD_createCCtx(),
                                                                                  &ZSTD_freeCCtx);
  return context.get();
}
ZSTD_DCtx* decompressor() {
  thread_local const std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> context(ZSTD_createDCtx(),
                                                                                  &ZSTD_freeDCtx);
  return context.get();
}

std::uint64_t chunk_count(std::uint64_t size) {
  return size / kChunkBytes + (size % kChunkBytes != 0 ? 1 : 0);
}

}  // namespace

BlobWriter::BlobWriter(Fd fd, fs::path temp)
    : fd_(std::move(fd)), temp_(std::move(temp)), hasher_(std::make_unique<Hasher>()) {}

BlobWriter::BlobWriter(BlobWriter&& other) noexcept
    : fd_(std::move(other.fd_)),
      temp_(std::exchange(other.temp_, {})),
      hasher_(std::move(other.hasher_)),
      pending_(std::move(other.pending_)),
      index_(std::move(other.index_)),
      size_(other.size_) {}

BlobWriter::~BlobWriter() {
  if (!temp_.empty()) ::unlink(temp_.c_str());
}

Result<BlobWriter> BlobWriter::create(const fs::path& folder) {
  static std::atomic<unsigned> counter{0};
  const fs::path temp = folder / fmt::format("{}.{}", ::getpid(), counter++);
  // A file of a crashed process with our pid may be in the way: it is nobody's now.
  ::unlink(temp.c_str());
  Fd fd(::open(temp.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd.valid())
    return fail_errno(errno, fmt::format("cannot create a file in {}", folder.string()));
  BlobWriter writer(std::move(fd), temp);
  TRYV(write_all(writer.fd_.get(), std::string(kBlobHeaderBytes, '\0'), temp.string()));
  return writer;
}

Status BlobWriter::append(std::string_view bytes) {
  hasher_->update(bytes);
  size_ += bytes.size();
  while (!bytes.empty()) {
    if (pending_.empty() && bytes.size() >= kChunkBytes) {
      TRYV(write_chunk(bytes.substr(0, kChunkBytes)));
      bytes.remove_prefix(kChunkBytes);
      continue;
    }
    const std::size_t part = std::min(bytes.size(), kChunkBytes - pending_.size());
    pending_.append(bytes.substr(0, part));
    bytes.remove_prefix(part);
    if (pending_.size() == kChunkBytes) {
      TRYV(write_chunk(pending_));
      pending_.clear();
    }
  }
  return {};
}

Status BlobWriter::write_chunk(std::string_view raw) {
  std::string packed(ZSTD_compressBound(raw.size()), '\0');
  const std::size_t n =
      ZSTD_compressCCtx(compressor(), packed.data(), packed.size(), raw.data(), raw.size(), kLevel);
  const bool smaller = ZSTD_isError(n) == 0 && n < raw.size();
  const std::string_view stored = smaller ? std::string_view(packed).substr(0, n) : raw;
  put_little(index_, static_cast<std::uint32_t>(stored.size()));
  put_little(index_, check_of(raw));
  return write_all(fd_.get(), stored, temp_.string());
}

Result<Digest> BlobWriter::finish() {
  if (!pending_.empty()) TRYV(write_chunk(pending_));
  pending_.clear();
  TRYV(write_all(fd_.get(), index_, temp_.string()));
  std::string header(kMagic);
  put_little(header, size_);
  if (::lseek(fd_.get(), 0, SEEK_SET) != 0)
    return fail_errno(errno, fmt::format("cannot write {}", temp_.string()));
  TRYV(write_all(fd_.get(), header, temp_.string()));
  if (::fchmod(fd_.get(), 0400) != 0)
    return fail_errno(errno, fmt::format("cannot set the mode of {}", temp_.string()));
  return hasher_->finish();
}

Status BlobWriter::sync() {
  if (::fsync(fd_.get()) != 0)
    return fail_errno(errno, fmt::format("cannot sync {}", temp_.string()));
  return {};
}

Status BlobWriter::publish(const fs::path& path) {
  if (::rename(temp_.c_str(), path.c_str()) != 0)
    return fail_errno(errno, fmt::format("cannot create {}", path.string()));
  temp_.clear();
  return {};
}

Failure BlobReader::corrupt(std::string_view what) const {
  return fail(ErrorCode::corrupt, fmt::format("object {} is damaged: {}", digest_.str(), what))
      .hint("check the disk; storing or sending the object again replaces the damaged one");
}

Result<BlobReader> BlobReader::open(const fs::path& path, const Digest& digest) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) {
    if (errno == ENOENT) {
      return fail(ErrorCode::not_found,
                  fmt::format("object {} is not in the content store", digest.str()))
          .hint("`consort deploy` sends missing objects");
    }
    return fail_errno(errno, fmt::format("cannot open {}", path.string()));
  }
  BlobReader reader(std::move(fd), digest);
  TRYV(reader.read_layout());
  return reader;
}

Status BlobReader::pread_exactly(std::uint64_t offset, std::string& into) const {
  std::size_t done = 0;
  while (done < into.size()) {
    const ssize_t n = ::pread(fd_.get(), into.data() + done, into.size() - done,
                              static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, fmt::format("cannot read object {}", digest_.str()));
    if (n == 0) return corrupt("it is cut short");
    done += static_cast<std::size_t>(n);
  }
  return {};
}

Status BlobReader::read_layout() {
  struct stat info {};
  if (::fstat(fd_.get(), &info) != 0)
    return fail_errno(errno, fmt::format("cannot read object {}", digest_.str()));
  const auto file_size = static_cast<std::uint64_t>(info.st_size);
  std::string header(kBlobHeaderBytes, '\0');
  TRYV(pread_exactly(0, header));
  if (!header.starts_with(kMagic)) return corrupt("its header is wrong");
  size_ = get_little<std::uint64_t>(std::string_view(header).substr(kMagic.size()));
  const std::uint64_t count = chunk_count(size_);
  if (count > (file_size - kBlobHeaderBytes) / kIndexEntryBytes)
    return corrupt("its length is wrong");
  std::string index(count * kIndexEntryBytes, '\0');
  TRYV(pread_exactly(file_size - index.size(), index));
  std::uint64_t offset = kBlobHeaderBytes;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::string_view entry =
        std::string_view(index).substr(i * kIndexEntryBytes, kIndexEntryBytes);
    const auto stored = get_little<std::uint32_t>(entry);
    index_.push_back({offset, stored, get_little<std::uint64_t>(entry.substr(4))});
    if (stored > kChunkBytes) return corrupt("its index is wrong");
    offset += stored;
  }
  if (offset + index.size() != file_size) return corrupt("its length is wrong");
  return {};
}

Result<std::string> BlobReader::chunk(std::size_t number) const {
  const Chunk& chunk = index_.at(number);
  const std::size_t raw_size =
      static_cast<std::size_t>(std::min<std::uint64_t>(kChunkBytes, size_ - number * kChunkBytes));
  std::string stored(chunk.stored, '\0');
  TRYV(pread_exactly(chunk.offset, stored));
  if (stored.size() != raw_size) {
    std::string raw(raw_size, '\0');
    const std::size_t n =
        ZSTD_decompressDCtx(decompressor(), raw.data(), raw.size(), stored.data(), stored.size());
    if (ZSTD_isError(n) != 0 || n != raw_size) return corrupt("a part cannot be unpacked");
    stored = std::move(raw);
  }
  if (check_of(stored) != chunk.check) return corrupt("its bytes are not those that were stored");
  return stored;
}

}  // namespace consort::objects

#include "objects/store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>

#include "base/open_file.h"
#include "objects/blob_file.h"
#include "objects/store_lock.h"

namespace consort::objects {

namespace {

// Objects are read through the store: by nobody who could not read what was put into it, and whose
// lock would hold up everybody. A store of an older version is closed to others here.
Status close_to_others(const fs::path& root) {
  struct stat info {};
  if (::stat(root.c_str(), &info) != 0)
    return fail_errno(errno, fmt::format("cannot look at {}", root.string()));
  if ((info.st_mode & 077U) == 0 || ::chmod(root.c_str(), 0700) == 0) return {};
  return fail_errno(
      errno, fmt::format("{} can be read by others, and that cannot be changed", root.string()));
}

}  // namespace

Result<ObjectStore> ObjectStore::open(const fs::path& root) {
  if (root.has_parent_path()) TRYV(make_folders(root.parent_path()));
  for (const char* folder : {"", "objects", "partial", "incoming"})
    TRYV(make_folders(root / folder, 0700));
  TRYV(close_to_others(root));
  const Fd lock(::open((root / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock.valid())
    return fail_errno(errno, fmt::format("cannot create {}", (root / "lock").string()));
  return ObjectStore(root);
}

fs::path ObjectStore::path_of(const Digest& digest) const {
  const std::string hex = digest.hex();
  return root_ / "objects" / hex.substr(0, 2) / hex.substr(2);
}

Result<Digest> ObjectStore::put(std::string_view bytes, Durability durability) const {
  const Digest digest = Digest::of(bytes);
  if (renew_sound(digest)) return digest;
  const auto next = [&]() -> Result<std::string_view> { return std::exchange(bytes, {}); };
  return TRY(put_stream(next, durability)).digest;
}

Result<Digest> ObjectStore::put_file(const fs::path& path, Durability durability) const {
  const Fd fd = TRY(open_file(path));
  return put_open(fd, path.string(), durability);
}

Result<Digest> ObjectStore::put_open(const Fd& fd, const std::string& name,
                                     Durability durability) const {
  std::string buffer(kChunkBytes, '\0');
  const auto next = [&]() -> Result<std::string_view> {
    while (true) {
      const ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
      if (n >= 0) return std::string_view(buffer).substr(0, static_cast<std::size_t>(n));
      if (errno != EINTR) return fail_errno(errno, fmt::format("cannot read {}", name));
    }
  };
  return TRY(put_stream(next, durability)).digest;
}

Result<ObjectStore::Stored> ObjectStore::put_stream(
    const std::function<Result<std::string_view>()>& next, Durability durability) const {
  BlobWriter writer = TRY(BlobWriter::create(root_ / "incoming"));
  while (true) {
    const std::string_view bytes = TRY(next());
    if (bytes.empty()) break;
    TRYV(writer.append(bytes));
  }
  const Stored stored{TRY(writer.finish()), writer.size()};
  if (renew_sound(stored.digest)) return stored;
  if (durability == Durability::fsync) TRYV(writer.sync());
  const fs::path path = path_of(stored.digest);
  TRYV(make_folders(path.parent_path(), 0700));
  {
    const StoreLock lock = TRY(StoreLock::shared(root_));
    TRYV(writer.publish(path));
  }
  if (durability == Durability::fsync) {
    TRYV(fsync_folder(path.parent_path()));
    TRYV(fsync_folder(root_ / "objects"));
  }
  return stored;
}

Status ObjectStore::sync() const {
  const Fd fd(::open(root_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid() || ::syncfs(fd.get()) != 0)
    return fail_errno(errno, fmt::format("cannot sync {}", root_.string()));
  return {};
}

Status ObjectStore::discard(const Digest& digest) const {
  const StoreLock lock = TRY(StoreLock::exclusive(root_));
  const fs::path path = path_of(digest);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT)
    return fail_errno(errno, fmt::format("cannot remove {}", path.string()));
  return {};
}

bool ObjectStore::has(const Digest& digest) const {
  struct stat info {};
  // Shorter than a header: the remains of a power cut before sync().
  return ::stat(path_of(digest).c_str(), &info) == 0 &&
         info.st_size >= static_cast<off_t>(kBlobHeaderBytes);
}

bool ObjectStore::renew(const Digest& digest) const {
  // Shared with other writers, but never while a collection decides what is old.
  const auto lock = StoreLock::shared(root_);
  return lock && has(digest) && ::utimensat(AT_FDCWD, path_of(digest).c_str(), nullptr, 0) == 0;
}

bool ObjectStore::renew_sound(const Digest& digest) const {
  return has(digest) && verify(digest) && renew(digest);
}

Status ObjectStore::check_digest(const Digest& digest,
                                 const std::function<Status(std::string_view)>& sink) const {
  const BlobReader reader = TRY(BlobReader::open(path_of(digest), digest));
  Hasher hasher;
  for (std::size_t i = 0; i < reader.chunks(); ++i) {
    const std::string chunk = TRY(reader.chunk(i));
    hasher.update(chunk);
    TRYV(sink(chunk));
  }
  if (hasher.finish() == digest) return {};
  return fail(ErrorCode::corrupt,
              fmt::format("the stored bytes of {} have another digest", digest.str()))
      .hint("check the disk; storing or sending the object again replaces the damaged one");
}

Result<std::string> ObjectStore::get(const Digest& digest, std::size_t limit) const {
  const std::uint64_t bytes = TRY(size(digest));
  if (bytes > limit) {
    return fail(ErrorCode::too_large,
                fmt::format("object {} has {} bytes; the limit is {}", digest.str(), bytes, limit));
  }
  std::string out;
  TRYV(check_digest(digest, [&](std::string_view chunk) -> Status {
    out.append(chunk);
    return {};
  }));
  return out;
}

Result<std::uint64_t> ObjectStore::size(const Digest& digest) const {
  return TRY(BlobReader::open(path_of(digest), digest)).size();
}

Result<std::string> ObjectStore::slice(const Digest& digest, std::uint64_t offset,
                                       std::size_t length) const {
  const BlobReader reader = TRY(BlobReader::open(path_of(digest), digest));
  std::string out;
  if (offset >= reader.size()) return out;
  length = static_cast<std::size_t>(std::min<std::uint64_t>(length, reader.size() - offset));
  while (out.size() < length) {
    const std::uint64_t at = offset + out.size();
    const std::string chunk = TRY(reader.chunk(static_cast<std::size_t>(at / kChunkBytes)));
    out.append(chunk, static_cast<std::size_t>(at % kChunkBytes), length - out.size());
  }
  return out;
}

Status ObjectStore::verify(const Digest& digest) const {
  return check_digest(digest, [](std::string_view) -> Status { return {}; });
}

std::vector<Digest> ObjectStore::missing(const std::vector<Digest>& digests) const {
  std::vector<Digest> out;
  std::set<Digest> seen;
  for (const Digest& digest : digests) {
    if (seen.insert(digest).second && !renew(digest)) out.push_back(digest);
  }
  return out;
}

Result<std::uint64_t> ObjectStore::partial_size(const Digest& digest) const {
  const fs::path path = root_ / "partial" / digest.hex();
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0) return static_cast<std::uint64_t>(info.st_size);
  if (errno == ENOENT) return std::uint64_t{0};
  return fail_errno(errno, fmt::format("cannot look at {}", path.string()));
}

namespace {

// The partial file, locked against other senders. An invalid Fd: there is none (and none was
// wanted).
Result<Fd> lock_partial(const fs::path& path, int flags) {
  while (true) {
    Fd fd(::open(path.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd.valid() && errno == ENOENT) return Fd();
    if (!fd.valid()) return fail_errno(errno, fmt::format("cannot open {}", path.string()));
    while (::flock(fd.get(), LOCK_EX) != 0) {
      if (errno != EINTR) return fail_errno(errno, fmt::format("cannot lock {}", path.string()));
    }
    struct stat info {};
    // Completed and removed by somebody else while we waited: look again.
    if (::fstat(fd.get(), &info) == 0 && info.st_nlink > 0) return fd;
  }
}

Result<Digest> digest_of_file(int fd, const fs::path& path) {
  Hasher hasher;
  std::string buffer(kChunkBytes, '\0');
  off_t at = 0;
  while (true) {
    const ssize_t n = ::pread(fd, buffer.data(), buffer.size(), at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, fmt::format("cannot read {}", path.string()));
    if (n == 0) return hasher.finish();
    hasher.update(std::string_view(buffer).substr(0, static_cast<std::size_t>(n)));
    at += n;
  }
}

}  // namespace

Status ObjectStore::append_partial(const Digest& digest, std::uint64_t offset,
                                   std::string_view bytes) const {
  const fs::path path = root_ / "partial" / digest.hex();
  const Fd fd = TRY(lock_partial(path, O_RDWR | O_CREAT));
  const off_t end = ::lseek(fd.get(), 0, SEEK_END);
  if (end < 0) return fail_errno(errno, fmt::format("cannot look at {}", path.string()));
  if (static_cast<std::uint64_t>(end) != offset) {
    return fail(ErrorCode::conflict,
                fmt::format("the next byte wanted of {} is {}, not {}", digest.str(), end, offset))
        .hint("ask for the partial size and go on from there");
  }
  Status written = write_all(fd.get(), bytes, path.string());
  // A half-written piece is taken back, so that the sender's offset stays true.
  if (!written && ::ftruncate(fd.get(), end) != 0) ::unlink(path.c_str());
  return written;
}

Status ObjectStore::complete_partial(const Digest& digest) const {
  const fs::path path = root_ / "partial" / digest.hex();
  const Fd fd = TRY(lock_partial(path, O_RDWR));
  if (!fd.valid()) {
    if (digest == Digest::of("")) return put("").map([](const Digest&) {});
    if (renew(digest)) return {};
    return fail(ErrorCode::not_found, fmt::format("nothing of {} has arrived", digest.str()))
        .hint("send its bytes first");
  }
  const Digest arrived = TRY(digest_of_file(fd.get(), path));
  // Stored before the partial file goes: a full disk costs the sender nothing.
  if (arrived == digest) TRYV(put_file(path));
  if (::unlink(path.c_str()) != 0)
    return fail_errno(errno, fmt::format("cannot remove {}", path.string()));
  if (arrived == digest) return {};
  return fail(ErrorCode::corrupt, fmt::format("the bytes that arrived for {} are those of {}",
                                              digest.str(), arrived.str()))
      .hint("send them again from the start");
}

}  // namespace consort::objects

// Garbage collection: mark from the roots, then remove what is neither marked nor young.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

#include "objects/store.h"
#include "objects/store_lock.h"

namespace consort::objects {
namespace {

Result<std::vector<fs::path>> entries_of(const fs::path& folder) {
  std::error_code ec;
  std::vector<fs::path> out;
  for (fs::directory_iterator it(folder, ec), end; !ec && it != end; it.increment(ec))
    out.push_back(it->path());
  if (ec) return fail_errno(ec.value(), fmt::format("cannot list {}", folder.string()));
  return out;
}

// The file's bytes on disk when it was last touched before `limit`; 0 bytes is a valid answer.
std::optional<std::uint64_t> bytes_if_older(const fs::path& path, std::time_t limit) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0 || info.st_mtim.tv_sec > limit) return std::nullopt;
  return static_cast<std::uint64_t>(info.st_size);
}

std::optional<Digest> digest_of_path(const fs::path& path) {
  auto digest =
      Digest::parse("sha256:" + path.parent_path().filename().string() + path.filename().string());
  return digest ? std::optional(*digest) : std::nullopt;
}

}  // namespace

Result<CollectReport> ObjectStore::collect(
    const std::set<Digest>& roots,
    const std::function<Result<std::vector<Digest>>(const Digest&)>& references,
    std::int64_t grace_seconds, Mode mode) const {
  std::set<Digest> reachable;
  std::vector<Digest> open(roots.begin(), roots.end());
  while (!open.empty()) {
    const Digest digest = open.back();
    open.pop_back();
    if (!reachable.insert(digest).second || !has(digest)) continue;
    auto refers_to = references(digest);
    if (!refers_to) {
      refers_to.error().add_context(
          fmt::format("while finding what {} refers to; nothing was removed", digest.str()));
      return tl::unexpected<Error>(std::move(refers_to).error());
    }
    open.insert(open.end(), refers_to->begin(), refers_to->end());
  }

  CollectReport report;
  // At the limit counts as old, so that a grace of 0 collects what was written this second.
  const std::time_t limit = ::time(nullptr) - grace_seconds;
  const auto sweep = [&](const fs::path& path) -> Status {
    const StoreLock lock = TRY(StoreLock::exclusive(root_));
    const auto bytes = bytes_if_older(path, limit);
    if (!bytes) {
      ++report.kept;
      return {};
    }
    if (mode == Mode::remove && ::unlink(path.c_str()) != 0 && errno != ENOENT) {
      return fail_errno(errno, fmt::format("cannot remove {}", path.string()));
    }
    ++report.removed;
    report.bytes_freed += *bytes;
    return {};
  };

  for (const fs::path& folder : TRY(entries_of(root_ / "objects"))) {
    for (const fs::path& path : TRY(entries_of(folder))) {
      const auto digest = digest_of_path(path);
      if (digest && reachable.contains(*digest)) {
        ++report.kept;
      } else {
        TRYV(sweep(path));
      }
    }
  }
  // Leftovers are not objects: they are removed, and counted only in bytes.
  const std::size_t kept = report.kept;
  const std::size_t removed = report.removed;
  for (const char* folder : {"partial", "incoming"}) {
    for (const fs::path& path : TRY(entries_of(root_ / folder))) TRYV(sweep(path));
  }
  report.kept = kept;
  report.removed = removed;
  return report;
}

}  // namespace consort::objects

// Objects and trees out of the store, onto the file system.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>

#include "objects/store.h"
#include "objects/tree.h"

namespace consort::objects {
namespace {

fs::path beside(const fs::path& path) {
  static std::atomic<unsigned> counter{0};
  const fs::path parent = path.has_parent_path() ? path.parent_path() : fs::path(".");
  return parent / fmt::format(".{}.{}.{}.tmp", path.filename().string().substr(0, 200), ::getpid(),
                              counter++);
}

Status sync_parent(const fs::path& path) {
  return fsync_folder(path.has_parent_path() ? path.parent_path() : fs::path("."));
}

Status write_entry(const ObjectStore& store, const fs::path& path, const TreeEntry& entry) {
  switch (entry.kind) {
    case TreeEntry::Kind::directory:
      // Its own mode comes last: it may forbid us to write into it.
      if (::mkdir(path.c_str(), 0700) != 0)
        return fail_errno(errno, fmt::format("cannot create the directory {}", path.string()));
      return {};
    case TreeEntry::Kind::symlink:
      if (::symlink(entry.target.c_str(), path.c_str()) != 0)
        return fail_errno(errno, fmt::format("cannot create the symlink {}", path.string()));
      return {};
    case TreeEntry::Kind::file:
      return store.materialise(entry.digest, path, entry.mode, Durability::cached);
  }
  return {};
}

Status write_tree(const ObjectStore& store, const Tree& tree, const fs::path& folder) {
  for (const auto& [path, entry] : tree) TRYV(write_entry(store, folder / path, entry));
  // Children before parents.
  for (auto it = tree.rbegin(); it != tree.rend(); ++it) {
    if (it->second.kind != TreeEntry::Kind::directory) continue;
    if (::chmod((folder / it->first).c_str(), it->second.mode) != 0)
      return fail_errno(errno,
                        fmt::format("cannot set the mode of {}", (folder / it->first).string()));
  }
  if (::chmod(folder.c_str(), 0755) != 0)
    return fail_errno(errno, fmt::format("cannot set the mode of {}", folder.string()));
  const Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // One sync of the file system is far cheaper than one per file.
  if (!fd.valid() || ::syncfs(fd.get()) != 0)
    return fail_errno(errno, fmt::format("cannot sync {}", folder.string()));
  return {};
}

}  // namespace

Status ObjectStore::materialise(const Digest& digest, const fs::path& path, mode_t mode,
                                Durability durability) const {
  const fs::path temp = beside(path);
  Fd fd(::open(temp.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd.valid()) return fail_errno(errno, fmt::format("cannot create {}", path.string()));
  const auto write = [&]() -> Status {
    TRYV(check_digest(
        digest, [&](std::string_view chunk) { return write_all(fd.get(), chunk, path.string()); }));
    if (::fchmod(fd.get(), mode) != 0)
      return fail_errno(errno, fmt::format("cannot set the mode of {}", path.string()));
    if (durability == Durability::fsync && ::fsync(fd.get()) != 0)
      return fail_errno(errno, fmt::format("cannot sync {}", path.string()));
    fd.reset();
    if (::rename(temp.c_str(), path.c_str()) != 0)
      return fail_errno(errno, fmt::format("cannot replace {}", path.string()));
    return durability == Durability::fsync ? sync_parent(path) : Status();
  };
  Status status = write();
  if (!status) ::unlink(temp.c_str());
  return status;
}

Status materialise_tree(const ObjectStore& store, const Digest& digest, const fs::path& folder) {
  const Tree tree = TRY(get_tree(store, digest));
  struct stat info {};
  if (::lstat(folder.c_str(), &info) == 0) {
    return fail(ErrorCode::conflict, fmt::format("{} exists already", folder.string()))
        .hint("a tree is written to a new place only");
  }
  const fs::path temp = beside(folder);
  if (::mkdir(temp.c_str(), 0700) != 0)
    return fail_errno(errno, fmt::format("cannot create a directory beside {}", folder.string()));
  Status status = write_tree(store, tree, temp);
  if (status &&
      ::renameat2(AT_FDCWD, temp.c_str(), AT_FDCWD, folder.c_str(), RENAME_NOREPLACE) != 0) {
    status = fail_errno(errno, fmt::format("cannot create {}", folder.string()));
  }
  if (status) return sync_parent(folder);
  // The first error is the one to tell; what cannot be removed now is a dot folder that says what
  // it is.
  static_cast<void>(remove_tree(temp));
  return status;
}

}  // namespace consort::objects

// Trees on the file system that somebody may have changed: what differs, and how it is put right.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <set>

#include "objects/tree.h"

namespace consort::objects {
namespace {

std::string kind_of(mode_t mode) {
  return S_ISDIR(mode)   ? "a directory"
         : S_ISLNK(mode) ? "a symlink"
         : S_ISREG(mode) ? "a file"
                         : "something else";
}

bool is_of_kind(TreeEntry::Kind kind, mode_t mode) {
  switch (kind) {
    case TreeEntry::Kind::directory:
      return S_ISDIR(mode);
    case TreeEntry::Kind::symlink:
      return S_ISLNK(mode);
    case TreeEntry::Kind::file:
      return S_ISREG(mode);
  }
  return false;
}

Result<Digest> digest_of(const fs::path& file) {
  const Fd fd(::open(file.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.valid()) return fail_errno(errno, fmt::format("cannot open {}", file.string()));
  Hasher hasher;
  std::array<char, 1U << 16U> buffer;  // NOLINT(cppcoreguidelines-pro-type-member-init)
  while (true) {
    const ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, fmt::format("cannot read {}", file.string()));
    if (n == 0) return hasher.finish();
    hasher.update(std::string_view(buffer.data(), static_cast<std::size_t>(n)));
  }
}

Result<std::string> difference(const TreeEntry& entry, const fs::path& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return std::string("absent");
    return fail_errno(errno, fmt::format("cannot look at {}", path.string()));
  }
  if (!is_of_kind(entry.kind, info.st_mode)) return kind_of(info.st_mode);
  if (entry.kind == TreeEntry::Kind::symlink) {
    std::error_code ec;
    return std::string(fs::read_symlink(path, ec) == entry.target ? "" : "changed");
  }
  if (entry.kind == TreeEntry::Kind::file && TRY(digest_of(path)) != entry.digest)
    return std::string("changed");
  const mode_t mode = info.st_mode & 07777U;
  return mode == entry.mode ? std::string() : fmt::format("mode {:04o}", mode);
}

// A file or a link takes the place of another one in one step.
bool is_in_the_way(const TreeEntry& entry, const fs::path& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return false;
  const bool is_folder = S_ISDIR(info.st_mode);
  return is_folder != (entry.kind == TreeEntry::Kind::directory);
}

Status put_link(const std::string& target, const fs::path& path) {
  const fs::path fresh =
      path.parent_path() /
      fmt::format(".{}.{}.tmp", path.filename().string().substr(0, 200), ::getpid());
  ::unlink(fresh.c_str());
  if (::symlink(target.c_str(), fresh.c_str()) == 0 && ::rename(fresh.c_str(), path.c_str()) == 0)
    return {};
  return fail_errno(errno, fmt::format("cannot create the symlink {}", path.string()));
}

Status put_entry(const ObjectStore& store, const TreeEntry& entry, const fs::path& path) {
  switch (entry.kind) {
    case TreeEntry::Kind::directory:
      // Its own mode comes last: it may forbid us to write into it.
      if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
        return fail_errno(errno, fmt::format("cannot create the directory {}", path.string()));
      return {};
    case TreeEntry::Kind::symlink:
      return put_link(entry.target, path);
    case TreeEntry::Kind::file:
      return store.materialise(entry.digest, path, entry.mode, Durability::cached);
  }
  return {};
}

bool is_real_folder(const fs::path& path) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

}  // namespace

Result<TreeDifferences> tree_differences(const Tree& tree, const fs::path& folder,
                                         const std::function<bool(const std::string&)>& is_free) {
  TreeDifferences out;
  std::set<std::string> closed;  // leads to what is not the tree's
  const bool is_there = is_real_folder(folder);
  for (const auto& [path, entry] : tree) {
    const std::string above = path.substr(0, std::min(path.size(), path.rfind('/')));
    if (above != path && closed.contains(above)) {
      closed.insert(path);
      continue;
    }
    if (is_free && is_free(path)) {
      if (!is_real_folder(folder / path)) closed.insert(path);
      continue;
    }
    // Below what is no directory nothing is looked at: a link there may lead anywhere.
    const auto upper = above == path ? out.end() : out.find(above);
    const bool lost = upper != out.end() && !upper->second.starts_with("mode ");
    std::string how = lost || !is_there ? "absent" : TRY(difference(entry, folder / path));
    if (!how.empty()) out.emplace(path, std::move(how));
  }
  return out;
}

Status mend_tree(const ObjectStore& store, const Tree& tree, const fs::path& folder,
                 const TreeDifferences& differences,
                 const std::function<Status(const std::string&)>& set_aside) {
  if (differences.empty()) return {};
  struct stat info {};
  if (!is_real_folder(folder) && ::lstat(folder.c_str(), &info) == 0) TRYV(set_aside(""));
  TRYV(make_folders(folder, 0755));
  for (const auto& [path, how] : differences) {
    if (is_in_the_way(tree.at(path), folder / path)) TRYV(set_aside(path));
    TRYV(put_entry(store, tree.at(path), folder / path));
  }
  // Children before parents.
  for (auto it = differences.rbegin(); it != differences.rend(); ++it) {
    const TreeEntry& entry = tree.at(it->first);
    if (entry.kind == TreeEntry::Kind::directory &&
        ::chmod((folder / it->first).c_str(), entry.mode) != 0)
      return fail_errno(errno,
                        fmt::format("cannot set the mode of {}", (folder / it->first).string()));
  }
  const Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid() || ::syncfs(fd.get()) != 0)
    return fail_errno(errno, fmt::format("cannot sync {}", folder.string()));
  return {};
}

}  // namespace consort::objects

// A folder of this host into the store.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/open_file.h"
#include "objects/tree.h"

namespace consort::objects {
namespace {

constexpr std::size_t kMaxEntries = 200'000;

Result<std::string> target_of_symlink(const fs::path& path) {
  std::string target(4096, '\0');
  const ssize_t n = ::readlink(path.c_str(), target.data(), target.size());
  if (n < 0) return fail_errno(errno, fmt::format("cannot read the symlink {}", path.string()));
  target.resize(static_cast<std::size_t>(n));
  return target;
}

Result<TreeEntry> entry_of(const ObjectStore& store, const fs::path& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0)
    return fail_errno(errno, fmt::format("cannot look at {}", path.string()));
  TreeEntry entry;
  entry.mode = info.st_mode & 07777U;
  if (S_ISDIR(info.st_mode)) {
    entry.kind = TreeEntry::Kind::directory;
  } else if (S_ISLNK(info.st_mode)) {
    entry.kind = TreeEntry::Kind::symlink;
    entry.mode = 0777;
    entry.target = TRY(target_of_symlink(path));
  } else if (S_ISREG(info.st_mode)) {
    entry.digest = TRY(store.put_file(path, Durability::cached));
    entry.size = TRY(store.size(entry.digest));
  } else {
    return fail(ErrorCode::invalid_input,
                fmt::format("{} is a {}: only files, directories and symlinks can be stored",
                            path.string(), file_kind(info.st_mode)))
        .hint("leave it out of the artifact");
  }
  return entry;
}

}  // namespace

Result<Digest> put_folder(const ObjectStore& store, const fs::path& folder) {
  struct stat info {};
  if (::stat(folder.c_str(), &info) != 0)
    return fail_errno(errno, fmt::format("cannot look at {}", folder.string()));
  if (!S_ISDIR(info.st_mode))
    return fail(ErrorCode::invalid_input, fmt::format("{} is no directory", folder.string()));
  Tree tree;
  std::vector<fs::path> open{folder};
  while (!open.empty()) {
    const fs::path current = std::move(open.back());
    open.pop_back();
    std::error_code ec;
    for (fs::directory_iterator it(current, ec), end; !ec && it != end; it.increment(ec)) {
      if (tree.size() >= kMaxEntries) {
        return fail(ErrorCode::too_large,
                    fmt::format("{} has more than {} entries", folder.string(), kMaxEntries))
            .hint("split it into several artifacts");
      }
      TreeEntry entry = TRY(entry_of(store, it->path()));
      if (entry.kind == TreeEntry::Kind::directory) open.push_back(it->path());
      TRYV(add_to_tree(tree, it->path().lexically_relative(folder).string(), std::move(entry)));
    }
    if (ec) return fail_errno(ec.value(), fmt::format("cannot list {}", current.string()));
  }
  return put_tree(store, tree);
}

}  // namespace consort::objects

// Trees: a folder as one object (canonical JSON, paths sorted) that refers to its files' blobs.
// { "consort": "tree", "entries": { "bin/shop": { "kind": "file", "mode": "0755", "digest":
// "sha256:…", "size": 12 },
//   "bin": { "kind": "directory", "mode": "0755" }, "current": { "kind": "symlink", "target": "bin"
//   } } }
// Owners and times are left out, so equal content has an equal digest everywhere.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/json.h"
#include "objects/store.h"

namespace consort::objects {

struct TreeEntry {
  enum class Kind : std::uint8_t { file, directory, symlink };
  Kind kind = Kind::file;
  mode_t mode = 0644;
  Digest digest;           // of a file
  std::uint64_t size = 0;  // of a file, bytes
  std::string target;      // of a symlink
};

// Relative paths, '/'-separated, no "." or "..", no leading or trailing '/'.
using Tree = std::map<std::string, TreeEntry>;

[[nodiscard]] Json tree_to_json(const Tree& tree);
// Refuses unsafe paths, children of non-directories, unknown kinds. Errors: invalid_input.
[[nodiscard]] Result<Tree> tree_from_json(const Json& json, std::string_view origin);
// The blobs that the tree refers to, sorted, unique.
[[nodiscard]] std::vector<Digest> tree_references(const Tree& tree);

[[nodiscard]] Result<Tree> get_tree(const ObjectStore& store, const Digest& digest);
// A single program, as artifacts that are no trees are unpacked (0755): a tree of one entry.
[[nodiscard]] Tree tree_of_program(const std::string& name, const Digest& digest);

// Stores all files and the tree. Devices, sockets and FIFOs are refused with their path.
[[nodiscard]] Result<Digest> put_folder(const ObjectStore& store, const fs::path& folder);
// tar (any compression libarchive knows), zip, …. Refuses absolute paths, "..", entries through
// symlinks, more than 200 000 entries or 16 GiB unpacked (bombs), devices, formats that can name
// files of this host (mtree). A single top folder is kept as it is. Errors: invalid_input,
// too_large, io, not_found.
[[nodiscard]] Result<Digest> put_archive(const ObjectStore& store, const fs::path& archive);

// Puts one entry into a tree that is being built: makes the folders above it (0755), refuses what
// is unsafe with the reason. An entry again replaces the earlier one of the same kind (as tar
// does).
[[nodiscard]] Status add_to_tree(Tree& tree, const std::string& path, TreeEntry entry);
// Stores the blob of the tree itself, after its files have been made durable.
[[nodiscard]] Result<Digest> put_tree(const ObjectStore& store, const Tree& tree);

// Writes the tree to `folder`, which must not exist: unpacked beside it, synced, renamed into
// place. A crash leaves either nothing or the whole.
[[nodiscard]] Status materialise_tree(const ObjectStore& store, const Digest& digest,
                                      const fs::path& folder);

// What of the tree is not in `folder` as it says, by path, and how: "changed", "absent", "a
// directory", "mode 0600". What is there besides counts for nothing. `is_free(path)` names entries
// that others decide on, null: none; where such a one is no folder, nothing is looked at below it.
// Never follows links; reads every file. Errors: io.
using TreeDifferences = std::map<std::string, std::string>;
[[nodiscard]] Result<TreeDifferences> tree_differences(
    const Tree& tree, const fs::path& folder,
    const std::function<bool(const std::string& path)>& is_free = nullptr);
// Puts these entries in order, each in one step. `set_aside(path)` takes away what is in the place
// of an entry of another kind, or in that of the folder itself (""); it is never removed here.
// Errors: io, not_found, corrupt (the store), and those of set_aside.
[[nodiscard]] Status mend_tree(const ObjectStore& store, const Tree& tree, const fs::path& folder,
                               const TreeDifferences& differences,
                               const std::function<Status(const std::string& path)>& set_aside);

}  // namespace consort::objects

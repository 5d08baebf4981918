// Archives of any format that libarchive knows, imported into a store on a memory file system.
#include <memory>

#include "base/files.h"
#include "fuzz/input.h"
#include "objects/tree.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace consort;
  static const auto folder =
      std::make_unique<TempFolder>(TempFolder::create("fuzz-archive", "/dev/shm").value());
  static const auto store = objects::ObjectStore::open(folder->path() / "store").value();
  const fs::path file = folder->path() / "archive";
  fuzz::require(
      write_file_atomic(file, fuzz::text_of(data, size), 0600, Durability::cached).has_value(),
      "the input can be written");
  const auto digest = objects::put_archive(store, file);
  if (!digest) return 0;
  const auto tree = objects::get_tree(store, *digest);
  fuzz::require(tree.has_value(), "an imported tree can be read");
  for (const auto& [path, entry] : *tree) {
    fuzz::require(!path.empty() && path.front() != '/', "paths are relative");
    fuzz::require(("/" + path + "/").find("/../") == std::string::npos, "no path leads out");
    if (entry.kind == objects::TreeEntry::Kind::file)
      fuzz::require(store.has(entry.digest), "the files of an imported tree are there");
  }
  return 0;
}

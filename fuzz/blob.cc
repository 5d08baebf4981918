// The file format of a stored object, damaged in any way.
#include <memory>

#include "base/files.h"
#include "fuzz/input.h"
#include "objects/blob_file.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace consort;
  static const auto folder =
      std::make_unique<TempFolder>(TempFolder::create("fuzz-blob", "/dev/shm").value());
  const fs::path file = folder->path() / "blob";
  fuzz::require(
      write_file_atomic(file, fuzz::text_of(data, size), 0600, Durability::cached).has_value(),
      "the input can be written");
  const auto reader = objects::BlobReader::open(file, Digest());
  if (!reader) return 0;
  std::uint64_t read = 0;
  for (std::size_t i = 0; i < reader->chunks(); ++i) {
    const auto chunk = reader->chunk(i);
    if (!chunk) return 0;
    fuzz::require(chunk->size() <= objects::kChunkBytes, "a chunk has its bound");
    read += chunk->size();
  }
  fuzz::require(read == reader->size(), "a blob is as long as it says");
  return 0;
}

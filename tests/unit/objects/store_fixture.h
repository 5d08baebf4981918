// A store in a folder of its own, for the tests of this room.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "base/files.h"
#include "objects/store.h"

namespace consort::objects {

class StoreTest : public ::testing::Test {
 protected:
  TempFolder folder_ = TempFolder::create("objects-test-").value();
  ObjectStore store_ = ObjectStore::open(folder_.path() / "store").value();

  [[nodiscard]] fs::path stored_file(const Digest& digest) const {
    return store_.root() / "objects" / digest.hex().substr(0, 2) / digest.hex().substr(2);
  }
  [[nodiscard]] std::size_t files_below(const fs::path& path) const {
    std::size_t count = 0;
    for (const auto& entry : fs::recursive_directory_iterator(path))
      count += entry.is_regular_file() ? 1 : 0;
    return count;
  }
  void flip_byte(const fs::path& path, std::size_t position) const {
    std::string bytes = read_file(path).value();
    ASSERT_LT(position, bytes.size());
    bytes[position] = static_cast<char>(bytes[position] ^ 0x10);
    ASSERT_TRUE(write_file_atomic(path, bytes));
  }
};

// Bytes that no compressor makes smaller; the same for the same seed.
inline std::string noise(std::size_t size, unsigned seed = 1) {
  std::mt19937 engine(seed);
  std::string out(size, '\0');
  for (char& c : out) c = static_cast<char>(engine() & 0xFFU);
  return out;
}

template <class T>
ErrorCode code_of(const Result<T>& result) {
  EXPECT_FALSE(result.has_value());
  return result ? ErrorCode::internal : result.error().code();
}

}  // namespace consort::objects

// The file format of one stored object (private to this room).
//
//   "consobj1" | u64 size | chunk … | index: per chunk { u32 stored bytes, 8 bytes of its SHA-256 }
//
// Integers are little-endian. A chunk is 1 MiB of the content (the last one less), as one zstd
// frame, or plain when zstd does not make it smaller (stored bytes == raw bytes says so). The index
// is last, so that writing streams; chunks stand alone, so that a slice far inside needs no
// decoding of what is before it, and each is verified by itself; the whole is verified by the
// object's name. Not thread-safe: one writer or reader per thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/files.h"

namespace consort::objects {

inline constexpr std::size_t kChunkBytes = 1U << 20U;
inline constexpr std::size_t kBlobHeaderBytes = 16;

// Writes a temporary file in `folder`, which goes away with the writer unless it is published.
class BlobWriter {
 public:
  [[nodiscard]] static Result<BlobWriter> create(const fs::path& folder);
  BlobWriter(BlobWriter&& other) noexcept;
  BlobWriter& operator=(BlobWriter&&) = delete;
  BlobWriter(const BlobWriter&) = delete;
  BlobWriter& operator=(const BlobWriter&) = delete;
  ~BlobWriter();

  [[nodiscard]] Status append(std::string_view bytes);
  // Writes what is left, the index and the header. Call once, last.
  [[nodiscard]] Result<Digest> finish();
  [[nodiscard]] Status sync();
  // Renames the file to `path`, replacing what is there.
  [[nodiscard]] Status publish(const fs::path& path);
  [[nodiscard]] std::uint64_t size() const { return size_; }

 private:
  BlobWriter(Fd fd, fs::path temp);
  [[nodiscard]] Status write_chunk(std::string_view raw);

  Fd fd_;
  fs::path temp_;
  std::unique_ptr<Hasher> hasher_;
  std::string pending_;
  std::string index_;
  std::uint64_t size_ = 0;
};

class BlobReader {
 public:
  // Errors: not_found, io, corrupt (the layout is wrong).
  [[nodiscard]] static Result<BlobReader> open(const fs::path& path, const Digest& digest);

  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] std::size_t chunks() const { return index_.size(); }
  // Error corrupt when the chunk is not what was written.
  [[nodiscard]] Result<std::string> chunk(std::size_t number) const;

 private:
  struct Chunk {
    std::uint64_t offset;
    std::uint32_t stored;
    std::uint64_t check;
  };
  BlobReader(Fd fd, Digest digest) : fd_(std::move(fd)), digest_(digest) {}
  [[nodiscard]] Status read_layout();
  [[nodiscard]] Status pread_exactly(std::uint64_t offset, std::string& into) const;
  [[nodiscard]] Failure corrupt(std::string_view what) const;

  Fd fd_;
  Digest digest_;
  std::uint64_t size_ = 0;
  std::vector<Chunk> index_;
};

}  // namespace consort::objects

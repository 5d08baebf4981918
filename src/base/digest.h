// SHA-256 digests: the names of objects. Written "sha256:<64 hex digits>" everywhere.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.h"

namespace consort {

class Digest {
 public:
  Digest() = default;  // all zero: "no digest"
  explicit Digest(std::array<std::uint8_t, 32> bytes) : bytes_(bytes) {}
  // Accepts exactly "sha256:" + 64 lower-case hex digits. Error: invalid_input.
  [[nodiscard]] static Result<Digest> parse(std::string_view text);
  [[nodiscard]] static Digest of(std::string_view bytes);

  [[nodiscard]] bool is_none() const { return *this == Digest(); }
  [[nodiscard]] std::string hex() const;
  [[nodiscard]] std::string str() const { return "sha256:" + hex(); }
  // The first 12 hex digits, for people.
  [[nodiscard]] std::string brief() const { return hex().substr(0, 12); }
  [[nodiscard]] const std::array<std::uint8_t, 32>& bytes() const { return bytes_; }

  friend auto operator<=>(const Digest&, const Digest&) = default;

 private:
  std::array<std::uint8_t, 32> bytes_{};
};

// Incremental hashing. Not thread-safe; one per thread.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;
  void update(std::string_view bytes);
  // Ends this hash and begins a new one.
  [[nodiscard]] Digest finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// A stable 64-bit hash (FNV-1a with a final mix) for slots and rendezvous placement. Not for
// security.
[[nodiscard]] std::uint64_t stable_hash(std::string_view text);

}  // namespace consort

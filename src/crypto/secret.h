// Bytes that nobody else may see: passphrases, tokens, values of secrets, private keys as text.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace consort::crypto {

// Owns its bytes and overwrites them when it goes, is assigned to or moved from. It cannot be
// printed, formatted or turned into JSON: whoever needs the bytes says reveal(), which is easy to
// find in a review. Copies are allowed; each wipes itself. Thread-safe as a std::string is.
class SecretBytes {
 public:
  SecretBytes() = default;
  explicit SecretBytes(std::string_view bytes);
  // Takes the bytes out of a string (a file that was read, a line that was typed) and wipes that.
  [[nodiscard]] static SecretBytes take(std::string& from);
  [[nodiscard]] static SecretBytes take(std::string&& from) { return take(from); }
  // `size` zero bytes, to be filled through data().
  [[nodiscard]] static SecretBytes of_size(std::size_t size);

  SecretBytes(const SecretBytes& other) : SecretBytes(other.reveal()) {}
  SecretBytes(SecretBytes&& other) noexcept;
  SecretBytes& operator=(SecretBytes other) noexcept;
  ~SecretBytes();

  // Valid as long as this is. Never keep a std::string of it.
  [[nodiscard]] std::string_view reveal() const { return {bytes_.get(), size_}; }
  [[nodiscard]] char* data() { return bytes_.get(); }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }

  // In constant time for equal sizes; the size itself is no secret.
  friend bool operator==(const SecretBytes& a, const SecretBytes& b);

 private:
  std::unique_ptr<char[]> bytes_;
  std::size_t size_ = 0;
};

// The same, where the bytes are text for people: passphrases, tokens, PEM.
using SecretText = SecretBytes;

// A secret goes to no stream.
template <class Stream>
Stream& operator<<(Stream&, const SecretBytes&) = delete;

// Overwrites a string that held a secret and empties it.
void wipe(std::string& text);

}  // namespace consort::crypto

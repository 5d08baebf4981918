#include "crypto/openssl_handle.h"

#include <openssl/err.h>

#include <stdexcept>

namespace consort::crypto {

QuietErrors::QuietErrors() { ERR_set_mark(); }
QuietErrors::~QuietErrors() { ERR_pop_to_mark(); }

void must(bool succeeded, const char* what) {
  if (!succeeded) throw std::runtime_error(std::string("OpenSSL failed to ") + what);
}

Bio reader_of(std::string_view bytes) {
  Bio bio(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
  must(bio != nullptr, "read memory");
  return bio;
}

Bio memory_bio() {
  Bio bio(BIO_new(BIO_s_mem()));
  must(bio != nullptr, "write memory");
  return bio;
}

std::string_view written(BIO* memory) {
  char* data = nullptr;
  const auto size = BIO_get_mem_data(memory, &data);
  return {data, static_cast<std::size_t>(size)};
}

}  // namespace consort::crypto

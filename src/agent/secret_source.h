// Where resources get the values of secrets from, and what they must not copy. The agent's is in
// secrets.h. Thread-safe.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"
#include "crypto/secret.h"

namespace consort::agent {

// ${secret.NAME} as a service on this host may use it.
struct SecretReference {
  std::string name;
  std::uint64_t version = 0;
  std::string service;
  friend bool operator==(const SecretReference&, const SecretReference&) = default;
};

class SecretSource {
 public:
  SecretSource() = default;
  SecretSource(const SecretSource&) = delete;
  SecretSource& operator=(const SecretSource&) = delete;
  virtual ~SecretSource() = default;

  // Errors: not_found, unavailable (it is not here and the controller does not answer), refused
  // (not sealed for this host, or not for this service), corrupt.
  [[nodiscard]] virtual Result<crypto::SecretBytes> value(const SecretReference& reference) = 0;
  // Files that have held a secret are remembered, before they do. Errors: io.
  [[nodiscard]] virtual Status taint(const std::string& path) = 0;
  [[nodiscard]] virtual bool is_tainted(const std::string& path) const = 0;
};

}  // namespace consort::agent

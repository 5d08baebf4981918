// A fuzzer that must guess base64 hardly gets behind it: what does not look like PEM is taken for
// the DER inside, and put into a block of this kind.
#pragma once

#include <string>
#include <string_view>

#include "crypto/random.h"
#include "fuzz/input.h"

namespace consort::fuzz {

inline std::string as_pem(std::string_view input, std::string_view kind) {
  if (input.starts_with("-----")) return std::string(input);
  std::string body = crypto::to_base64url(input);
  for (char& c : body) {
    if (c == '-') c = '+';
    if (c == '_') c = '/';
  }
  body.append((4 - body.size() % 4) % 4, '=');
  std::string pem = "-----BEGIN " + std::string(kind) + "-----\n";
  for (std::size_t at = 0; at < body.size(); at += 64) pem += body.substr(at, 64) + "\n";
  return pem + "-----END " + std::string(kind) + "-----\n";
}

}  // namespace consort::fuzz

// HTTP messages as values (RFC 9110). No I/O; not thread-safe, like any value.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/time.h"

namespace consort::http {

// Header fields in their order; names compare without case.
class Headers {
 public:
  Headers() = default;
  Headers(std::initializer_list<std::pair<std::string, std::string>> items) : items_(items) {}

  // The first field of that name.
  [[nodiscard]] std::optional<std::string_view> get(std::string_view name) const;
  [[nodiscard]] bool has(std::string_view name) const { return get(name).has_value(); }
  // Replaces all fields of that name. Line ends in names or values are removed: they would forge
  // fields.
  void set(std::string_view name, std::string_view value);
  void add(std::string_view name, std::string_view value);
  void remove(std::string_view name);
  [[nodiscard]] const std::vector<std::pair<std::string, std::string>>& items() const {
    return items_;
  }

 private:
  std::vector<std::pair<std::string, std::string>> items_;
};

[[nodiscard]] bool equal_ignoring_case(std::string_view a, std::string_view b);

// Who is at the other end of a connection. What its certificate says was verified: signed by an
// authority that the server trusts, within its time, made for clients. Whether it was revoked, and
// what its holder may do, is for handlers to decide.
struct Peer {
  std::string address = {};  // "127.0.0.1", "::1"
  std::uint16_t port = 0;
  std::string identity = {};     // the certificate's only URI, "consort://main/host/web1"; or ""
  std::string serial = {};       // lower-case hex; "" without a certificate
  Instant not_after = {};        // when the certificate ends; connections may outlast that
  std::string fingerprint = {};  // "sha256:…" of the certificate; "" without one
  bool resumed = false;          // the certificate was verified earlier, and is still in its time
};

struct Request {
  std::string method;                        // "GET"
  std::string target;                        // as sent: "/v1/hosts/web%201?all=1"
  std::string path;                          // the part before '?', still percent-encoded
  std::map<std::string, std::string> query;  // decoded; of equal names the last one counts
  Headers headers;
  std::string body;
  Peer peer;
  std::map<std::string, std::string> params;  // of the route's pattern, decoded: {"name": "web 1"}

  [[nodiscard]] std::string param(std::string_view name) const;
  [[nodiscard]] std::optional<std::string> query_value(std::string_view name) const;
  // "secret" of "Authorization: Bearer secret".
  [[nodiscard]] std::optional<std::string> bearer_token() const;
  // The body as JSON. Errors: invalid_input, with the place.
  [[nodiscard]] Result<Json> json() const;
};

struct Response {
  int status = 200;
  Headers headers;
  std::string body;

  [[nodiscard]] static Response json(const Json& value, int status = 200);
  [[nodiscard]] static Response text(std::string body, int status = 200);
  // { "error": { code, message, … } } with the status of the error's code; 503 carries Retry-After.
  [[nodiscard]] static Response error(const Error& error);
  [[nodiscard]] static Response empty(int status = 204);

  [[nodiscard]] bool ok() const { return status >= 200 && status < 300; }
};

// What a client makes of an answer that is not 2xx: our own error body becomes that Error again;
// anything else an error by its status that quotes the start of the body.
[[nodiscard]] Error error_of(const Response& response);
// The JSON of a 2xx answer, or error_of() it. An empty body is null.
// On every answer of Consort's own servers: whatever else listens at an address does not send it.
inline constexpr std::string_view kApiHeader = "Consort-Api";

[[nodiscard]] Result<Json> json_of(const Response& response);

[[nodiscard]] std::string_view reason_phrase(int status);

}  // namespace consort::http

// Who is asking, and what operators have been granted. Values; thread-safe to share.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace consort::access {

struct Principal {
  enum class Kind : std::uint8_t {
    anonymous,  // showed nothing
    joining,    // showed a join token; `name` is the token's id
    host,       // showed a host's certificate
    operator_,  // showed an operator's certificate or token
    local       // plain loopback with --insecure: everything is allowed, and the audit log says so
  };
  Kind kind = Kind::anonymous;
  std::string name;
  std::string partition{};  // that the credential is for; "" for all
  std::string how{};        // "certificate 3f2a9c…", "token ab12cd34": never a secret
  std::string address{};    // where from: "10.0.0.7:51234"
  friend bool operator==(const Principal&, const Principal&) = default;
};
// "operator ann (certificate 3f2a9c…)", "host web1 (…)", "local", "nobody": for logs and messages.
[[nodiscard]] std::string principal_text(const Principal& principal);

// Each role includes those before it.
enum class Role : std::uint8_t { viewer, deployer, admin };
[[nodiscard]] std::string_view role_name(Role role);
[[nodiscard]] Result<Role> role_from_name(std::string_view name);

// What an operator may do. A deployer changes the services whose name matches one of `services`
// (globs: "shop-*"; "*" is the whole site) or whose owner is one of `owners`, and nothing else. The
// base services of host classes (class:NAME) are only for "*" and for globs that begin so, whoever
// owns them. Both are empty for viewers and admins.
struct Grant {
  Role role = Role::viewer;
  std::vector<std::string> services{};
  std::vector<std::string> owners{};
  friend bool operator==(const Grant&, const Grant&) = default;
};
// "viewer and deployer of shop-*, owner team-a"; "nothing" without grants.
[[nodiscard]] std::string grants_text(const std::vector<Grant>& grants);

inline constexpr std::size_t kMaxGrants = 64;     // of one operator
inline constexpr std::size_t kMaxPatterns = 256;  // services or owners of one grant
inline constexpr std::size_t kMaxPatternBytes = 128;
inline constexpr std::size_t kMaxStars = 8;  // matching takes time that grows with their power

// A glob as in grants and join tokens: within the limits, UTF-8, no control characters.
[[nodiscard]] bool is_pattern(std::string_view text);

// Error invalid_input: a deployer of nothing, services of a viewer, limits.
[[nodiscard]] Status check_grants(const std::vector<Grant>& grants);
[[nodiscard]] Json grants_to_json(const std::vector<Grant>& grants);
// Strict; checks too. `json` is a list; `path` is its place in the document.
[[nodiscard]] Result<std::vector<Grant>> grants_from_json(const Json::Array& json,
                                                          const std::string& path);

}  // namespace consort::access

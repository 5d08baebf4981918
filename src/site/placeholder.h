// Placeholders ${namespace.key} in strings. Known namespaces are expanded once, never inside values
// that were filled in; "$${" is a literal "${"; any other ${…} stays as it is.
//
//   class values (filled in by the compiler): needs.NAME.address|addresses|port|hosts|url
//   host values (filled in by the agent): host.name host.address host.labels.* fact.* service.dir
//     service.data service.run artifact.* secret.* port.*
//   encoders: ${json:fact.os.id} writes a JSON string, ${shell:…} a POSIX shell word.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace consort::site {

enum class PlaceholderStage : std::uint8_t { compile, host };

// The value of "needs.sql.port", or an error. Called only for names in the stage's namespaces.
using PlaceholderLookup = std::function<Result<std::string>(std::string_view name)>;

// Expands the namespaces of `stage`; those of the other stage (and "$${" at the compile stage)
// stay.
[[nodiscard]] Result<std::string> expand(std::string_view text, PlaceholderStage stage,
                                         const PlaceholderLookup& lookup);
// The same in every string value (not in keys) of a JSON document. Errors name the path.
[[nodiscard]] Result<Json> expand_all(const Json& json, PlaceholderStage stage,
                                      const PlaceholderLookup& lookup, std::string_view path = "");
// A text in which secrets are still references: pieces of text, and names of secrets with the
// encoder that their value needs.
enum class Encoder : std::uint8_t { plain, json, shell };
struct Piece {
  std::string text;    // when `secret` is empty
  std::string secret;  // "db" of ${secret.db}
  Encoder encoder = Encoder::plain;
  friend bool operator==(const Piece&, const Piece&) = default;
};
// expand() of the host stage for everything but secrets, which are not looked up. Texts are joined:
// two pieces of text never follow each other.
[[nodiscard]] Result<std::vector<Piece>> expand_but_secrets(std::string_view text,
                                                            const PlaceholderLookup& lookup);
[[nodiscard]] std::string encode(Encoder encoder, std::string value);

// Every placeholder name of this stage that the document uses.
[[nodiscard]] Result<std::set<std::string>> placeholders_in(const Json& json,
                                                            PlaceholderStage stage);

}  // namespace consort::site

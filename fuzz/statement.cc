// Statements that operators sign, what of them rides along with a target, and what a host remembers
// of them.
#include "plan/statement.h"

#include "fuzz/input.h"
#include "signing/acceptance.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace consort;
  const std::string_view text = fuzz::text_of(data, size);
  const auto statement = [](const Json& json) {
    return plan::signed_statement_from_json(json, "statement");
  };
  const auto attestation = [](const Json& json) {
    return plan::attestation_from_json(json, "attestation");
  };
  fuzz::round_trip(text, statement, plan::signed_statement_to_json);
  fuzz::round_trip(text, attestation, plan::attestation_to_json);
  fuzz::round_trip(text, signing::accepted_from_json, signing::accepted_to_json);
  const auto json = parse_json(text);
  if (!json) return 0;
  if (const auto read = statement(*json)) {
    const plan::ShareTree tree(read->statement);
    for (const std::string& host : read->statement.hosts)
      fuzz::require(plan::check_part(tree.part(host).value(), host).has_value(),
                    "each host finds its share");
  }
  if (const auto read = attestation(*json))
    static_cast<void>(plan::check_part(read->current, "web1").has_value());
  return 0;
}

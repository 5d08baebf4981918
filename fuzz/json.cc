// Any bytes as JSON: parsing, writing, canonical bytes.
#include "fuzz/input.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace consort;
  const auto json = parse_json(fuzz::text_of(data, size), "input", {1U << 20U, 64});
  if (!json) {
    fuzz::require(!render_error(json.error()).empty(), "an error can be told");
    return 0;
  }
  const std::string compact = json->dump();
  const auto again = parse_json(compact);
  fuzz::require(again.has_value(), "what we wrote can be read");
  const auto pretty = parse_json(json->pretty());
  fuzz::require(pretty.has_value(), "what we wrote for people can be read");
  // Only for canonical documents: Boost.JSON 1.81 may read a fraction one bit off.
  if (const auto canonical = json->canonical()) {
    fuzz::require(*canonical == compact, "canonical bytes are the compact ones");
    fuzz::require(again->dump() == compact, "writing is stable");
    fuzz::require(pretty->dump() == compact, "indentation changes nothing");
  }
  static_cast<void>(error_to_json(error_from_json(*json)));
  return 0;
}

// A site written as plain JSON, against the strict schema; and what libjsonnet may say when it
// refuses one.
#include "fuzz/input.h"
#include "site/evaluator.h"
#include "site/schema.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace consort;
  const std::string_view text = fuzz::text_of(data, size);
  fuzz::require(!render_error(site::parse_jsonnet_error(text)).empty(), "an error can be told");
  const auto json = parse_json(text);
  if (!json) return 0;
  if (const Status status = site::check(*json, site::site_schema(), ""); !status)
    fuzz::require(!status.error().message().empty(), "a refusal says why");
  return 0;
}

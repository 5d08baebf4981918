// Generations: what a client asks a controller to deploy, so the least trusted of the records.
#include "plan/generation.h"

#include "fuzz/input.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace consort;
  const std::string_view text = fuzz::text_of(data, size);
  fuzz::round_trip(text, plan::generation_from_json, plan::generation_to_json);
  if (const auto json = parse_json(text)) {
    if (const auto generation = plan::generation_from_json(*json))
      static_cast<void>(plan::service_levels(generation->services));
    static_cast<void>(plan::policy_from_json(*json, "policy"));
  }
  return 0;
}

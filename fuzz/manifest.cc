// Manifests, as they come from stores and controllers.
#include "plan/manifest.h"

#include "fuzz/input.h"
#include "plan/plan.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace consort;
  fuzz::round_trip(fuzz::text_of(data, size), plan::manifest_from_json, plan::manifest_to_json);
  if (const auto json = parse_json(fuzz::text_of(data, size))) {
    if (const auto manifest = plan::manifest_from_json(*json)) {
      static_cast<void>(plan::manifest_references(*manifest));
      static_cast<void>(plan::manifest_bytes(*manifest));
      fuzz::require(plan::manifest_changes(*manifest, *manifest).empty(),
                    "a manifest does not differ from itself");
    }
  }
  return 0;
}

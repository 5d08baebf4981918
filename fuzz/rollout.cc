// The journal of a rollout, as a controller finds it again.
#include "rollout/rollout.h"

#include "fuzz/input.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace consort;
  fuzz::round_trip(fuzz::text_of(data, size), rollout::rollout_from_json, rollout::rollout_to_json);
  return 0;
}

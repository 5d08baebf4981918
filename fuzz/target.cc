// Targets (what agents are told) and host reports (what controllers are told).
#include "plan/target.h"

#include "fuzz/input.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace consort;
  const std::string_view text = fuzz::text_of(data, size);
  fuzz::round_trip(text, plan::target_from_json, plan::target_to_json);
  fuzz::round_trip(text, plan::host_report_from_json, plan::host_report_to_json);
  return 0;
}

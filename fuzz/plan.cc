// Plans, as controllers keep and send them.
#include "plan/plan.h"

#include "fuzz/input.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace consort;
  const std::string_view text = fuzz::text_of(data, size);
  fuzz::round_trip(text, plan::plan_from_json, plan::plan_to_json);
  if (const auto json = parse_json(text)) {
    if (const auto read = plan::plan_from_json(*json)) {
      static_cast<void>(plan::plan_totals(*read));
      static_cast<void>(read->services());
    }
  }
  return 0;
}

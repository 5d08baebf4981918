// The journal of a transition, as an agent finds it again after a crash, and an instance's record.
#include "agent/core.h"
#include "fuzz/input.h"
#include "transition/transition.h"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace consort;
  const std::string_view text = fuzz::text_of(data, size);
  fuzz::round_trip(text, transition::transition_from_json, transition::transition_to_json);
  fuzz::round_trip(text, agent::instance_from_json, agent::instance_to_json);
  const auto json = parse_json(text);
  if (!json) return 0;
  auto journal = transition::transition_from_json(*json);
  if (!journal) return 0;
  // Whatever the journal says, it comes to an end when every step fails, or every step succeeds.
  for (const auto status : {transition::StepStatus::ok, transition::StepStatus::failed}) {
    transition::Transition now = transition::recover(*journal);
    for (int steps = 0; steps < 200; ++steps) {
      if (std::holds_alternative<transition::Ended>(transition::decide(now))) break;
      fuzz::require(steps < 199, "a transition comes to an end");
      transition::StepResult result;
      result.status = status;
      now = transition::with_result(transition::with_intent(std::move(now)), result);
    }
  }
  return 0;
}

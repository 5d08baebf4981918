// The statement of a generation: what operators are asked to sign.
#pragma once

#include "plan/generation.h"
#include "plan/plan.h"
#include "plan/statement.h"

namespace consort::plan {

// `generation`: as it will be committed; `plan`: how it gets there. The partition is left to who
// signs.
[[nodiscard]] Statement statement_of(const Generation& generation, const Plan& plan,
                                     std::uint64_t sequence, const Digest& previous);
// Services that the plan drains or stops for a while, sorted: its statement says so.
[[nodiscard]] std::vector<std::string> held_services(const Plan& plan);
// One service of it, as a statement would say it.
[[nodiscard]] StatedService stated_service(const Generation& generation,
                                           const ServiceRecord& service);

}  // namespace consort::plan

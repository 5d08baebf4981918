// How a plan is shown to people.
#pragma once

#include <string>

#include "plan/plan.h"

namespace consort::cli {

enum class Detail : std::uint8_t { normal, brief };
[[nodiscard]] std::string render_plan(const plan::Plan& plan, Detail detail);

}  // namespace consort::cli

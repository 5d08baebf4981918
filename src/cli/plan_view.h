// How a plan is shown to people.
#pragma once

#include <string>
#include <vector>

#include "plan/plan.h"

namespace consort::cli {

enum class Detail : std::uint8_t { normal, brief };
// `width`: columns of the terminal, 0: nothing is wrapped.
[[nodiscard]] std::string render_plan(const plan::Plan& plan, Detail detail, std::size_t width);
// The options that would permit it, each once; what no option permits is left out.
[[nodiscard]] std::vector<std::string> missing_options(const plan::Plan& plan);

}  // namespace consort::cli

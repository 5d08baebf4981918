// Programs that a site names as inventories run on the machine of whoever evaluates it, as that
// operator, beside the keys of that operator.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/terminal.h"
#include "fleet/fleet.h"
#include "site/site.h"

namespace consort::cli {

// Where --no-exec is given they are an error, or (stood_in) sample hosts take the place of what
// they would say, with a warning. Else they are run; asked: not before a person has said so, or
// --exec does.
enum class Programs : std::uint8_t { run, stood_in, asked };

// The person's answer to a question. Error refused, where nobody is there to be asked.
using AskPerson = std::function<Result<bool>(const std::string& question)>;

// For the options of fleet::resolve(); may change the inventories of `site`.
[[nodiscard]] fleet::ProgramGate settle_programs(site::Site& site, const Arguments& arguments,
                                                 Programs programs,
                                                 const AskPerson& ask = ask_person);

[[nodiscard]] const Option& no_exec_option();  // --no-exec

}  // namespace consort::cli

// What hosts say in words, made fit for operators' terminals: status, events and the log show it,
// and root on one host must not steer what is shown of the others. Pure.
#pragma once

#include "base/text.h"
#include "plan/target.h"

namespace consort::controller {

// All texts of the report but its events. The end of a hook's output keeps its lines. What is only
// compared and never shown, the values of the host in InstanceState, stays as it is.
void make_printable(plan::HostReport& report);

}  // namespace consort::controller

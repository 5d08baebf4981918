// What hosts say in words, made fit to be kept and shown: status, events and the log show it on
// operators' terminals, which root on one host must not steer; and it stays in memory and in the
// store, which one host must not fill. Pure.
#pragma once

#include "base/text.h"
#include "plan/target.h"

namespace consort::controller {

// In bytes, and far more than any honest agent says.
inline constexpr std::size_t kMostHostText = 4000;      // a sentence
inline constexpr std::size_t kMostHostTail = 8000;      // the end of a hook's output
inline constexpr std::size_t kMostHostName = 200;       // attempts, steps, tokens, names of facts
inline constexpr std::size_t kMostHostValues = 16'000;  // an instance's, together
inline constexpr std::size_t kMostFacts = 500;
inline constexpr std::size_t kMostDuties = 64;  // of an instance; agents keep the last 32
inline constexpr std::size_t kMostInstances = 1000;
inline constexpr std::size_t kMostHostRecord = 512U << 10U;
// Of one report; agents send 200 and half a megabyte.
inline constexpr std::size_t kMostEvents = 400;
inline constexpr std::size_t kMostEventBytes = 1U << 20U;

// All texts of the report but its events. The end of a hook's output keeps its lines, and of a long
// one the end. What is only compared and never shown, the values of the host in InstanceState, is
// cut, but stays as it is otherwise. Facts and duties that are too many are left out.
void tame(plan::HostReport& report);
// What cannot be left out without telling something else, and the whole. Error too_large.
[[nodiscard]] Status check_extent(const plan::HostReport& report);

}  // namespace consort::controller

// The journal format of a transition: one JSON object, format 1.
#include <fmt/format.h>

#include <array>

#include "base/json_reader.h"
#include "transition/transition.h"

namespace consort::transition {
namespace {

constexpr std::array<std::string_view, 5> kProgress = {"planned", "intent", "done", "failed",
                                                       "failed_dirty"};

Json records_to_json(const std::vector<StepRecord>& records) {
  Json::Array out;
  for (const StepRecord& record : records) {
    out.push_back(
        Json::object({{"step", step_name(record.step)},
                      {"token", record.token},
                      {"progress", kProgress.at(static_cast<std::size_t>(record.progress))},
                      {"idempotent", record.idempotent},
                      {"tries", record.tries},
                      {"crashes", record.crashes}}));
  }
  return out;
}

Result<std::vector<StepRecord>> records_from_json(const Json::Array& array) {
  std::vector<StepRecord> out;
  for (const Json& item : array) {
    JsonReader reader(item, fmt::format("steps[{}]", out.size()));
    StepRecord record;
    record.step = TRY(step_from_name(reader.string("step")));
    record.token = reader.string("token");
    const std::string progress = reader.string("progress");
    std::size_t i = 0;
    while (i < kProgress.size() && kProgress.at(i) != progress) ++i;
    if (i == kProgress.size())
      return fail(ErrorCode::corrupt, fmt::format("'{}' is no progress of a step", progress));
    record.progress = static_cast<Progress>(i);
    record.idempotent = reader.boolean("idempotent", true);
    record.tries = static_cast<int>(reader.integer("tries", 0, 0, 100));
    record.crashes = static_cast<int>(reader.integer("crashes", 0, 0, 100));
    TRYV(reader.finish(UnknownMembers::ignore));
    out.push_back(std::move(record));
  }
  return out;
}

Json failure_to_json(const std::optional<Failure>& failure) {
  if (!failure) return {};
  return Json::object({{"step", failure->step},
                       {"exitStatus", failure->exit_status},
                       {"message", failure->message},
                       {"tail", failure->tail}});
}

std::optional<Failure> failure_from_json(const Json* json) {
  if (json == nullptr) return std::nullopt;
  return Failure{json->string_or("step"), static_cast<int>(json->int_or("exitStatus")),
                 json->string_or("message"), json->string_or("tail")};
}

}  // namespace

Json transition_to_json(const Transition& t) {
  return Json::object({{"format", 1},
                       {"service", t.service},
                       {"attempt", t.attempt},
                       {"from", t.from ? plan::instance_state_to_json(*t.from) : Json()},
                       {"to", t.to ? plan::instance_state_to_json(*t.to) : Json()},
                       {"downwards", t.downwards},
                       {"dataChanges", t.data_changes},
                       {"drainMayFail", t.drain_may_fail},
                       {"duty", t.duty ? plan::duty_to_json(*t.duty) : Json()},
                       {"once", Json::array_of(t.once)},
                       {"forward", records_to_json(t.forward)},
                       {"back", records_to_json(t.back)},
                       {"walkingBack", t.walking_back},
                       {"mending", t.mending},
                       {"committed", t.committed},
                       {"unconfirmed", t.unconfirmed},
                       {"snapshot", t.snapshot},
                       {"lost", t.lost},
                       {"passedOver", t.passed_over},
                       {"failure", failure_to_json(t.failure)},
                       {"backFailure", failure_to_json(t.back_failure)}});
}

Result<Transition> transition_from_json(const Json& json) {
  JsonReader reader(json, "journal");
  if (reader.integer("format") != 1)
    return fail(ErrorCode::unsupported, "this journal was written by a newer agent");
  Transition t;
  t.service = reader.string("service");
  t.attempt = reader.string("attempt");
  if (const Json* from = reader.any("from"))
    t.from = TRY(plan::instance_state_from_json(*from, "from"));
  if (const Json* to = reader.any("to")) t.to = TRY(plan::instance_state_from_json(*to, "to"));
  if (const Json* duty = reader.any("duty")) t.duty = TRY(plan::duty_from_json(*duty, "duty"));
  t.downwards = reader.boolean("downwards", false);
  t.data_changes = reader.boolean("dataChanges", false);
  t.drain_may_fail = reader.boolean("drainMayFail", false);
  t.once = reader.strings("once");
  t.forward = TRY(records_from_json(reader.array("forward")));
  t.back = TRY(records_from_json(reader.array("back")));
  t.walking_back = reader.boolean("walkingBack", false);
  t.mending = reader.boolean("mending", false);
  t.committed = reader.boolean("committed", false);
  t.unconfirmed = reader.boolean("unconfirmed", false);
  t.snapshot = reader.string("snapshot", "");
  t.lost = reader.string("lost", "");
  t.passed_over = reader.string("passedOver", "");
  t.failure = failure_from_json(reader.any("failure"));
  t.back_failure = failure_from_json(reader.any("backFailure"));
  TRYV(reader.finish(UnknownMembers::ignore));
  return t;
}

}  // namespace consort::transition

// The journal format of a rollout, and the one record that clients see.
#include <fmt/format.h>

#include "base/json_reader.h"
#include "rollout/rollout.h"

namespace consort::rollout {
namespace {

template <class Value>
::consort::Result<Value> known(std::optional<Value> value, std::string_view name) {
  if (!value)
    return fail(ErrorCode::corrupt, fmt::format("'{}' is not known in a rollout's journal", name));
  return *value;
}

Json place_to_json(const Course& course) {
  return Json::object({{"wave", course.wave}, {"waveSince", to_millis(course.wave_since)}});
}

void restore_place(Course& course, const Json* json) {
  if (json == nullptr) return;
  course.wave = static_cast<std::size_t>(std::max<std::int64_t>(0, json->int_or("wave")));
  course.wave_since = from_millis(json->int_or("waveSince"));
}

Json steps_and_waves(const Course& course) {
  Json::Array steps, waves;
  for (const plan::Step& step : course.steps) steps.push_back(plan::step_to_json(step));
  for (const plan::Wave& wave : course.waves) waves.push_back(plan::wave_to_json(wave));
  return Json::object({{"steps", std::move(steps)}, {"waves", std::move(waves)}});
}

Json::Array runs_of(const Course& course) {
  Json::Array out;
  for (const StepRun& run : course.runs) out.push_back(run_to_json(run));
  return out;
}

Json course_to_json(const Course& course) {
  Json out = steps_and_waves(course);
  out["runs"] = runs_of(course);
  out["wave"] = course.wave;
  out["waveSince"] = to_millis(course.wave_since);
  return out;
}

Status restore_steps(Course& course, const Json& json, const std::string& path) {
  JsonReader reader(json, path);
  course.steps.clear();
  course.waves.clear();
  for (const Json& step : reader.array("steps"))
    course.steps.push_back(TRY(plan::step_from_json(step, static_cast<int>(course.steps.size()))));
  for (const Json& wave : reader.array("waves"))
    course.waves.push_back(TRY(plan::wave_from_json(wave, course.steps.size(), path + ".waves")));
  course.runs.assign(course.steps.size(), {});
  return reader.finish(UnknownMembers::ignore);
}

::consort::Result<StepRun> run_from_json(const Json& item, const std::string& path) {
  StepRun run;
  const std::string phase = item.string_or("phase");
  run.phase = TRY(known(step_phase_from_name(phase), phase));
  run.since = from_millis(item.int_or("since"));
  if (const Json* began = item.find("began"); began != nullptr && began->is_int())
    run.began = from_millis(began->as_int());
  run.waiting = item.string_or("waiting");
  run.sent = item.bool_or("sent");
  if (const Json* unseen = item.find("unseen"); unseen != nullptr && unseen->is_int())
    run.unseen = from_millis(unseen->as_int());
  if (const Json* outcome = item.find("outcome"); outcome != nullptr && outcome->is_object())
    run.outcome = TRY(plan::outcome_from_json(*outcome, path));
  return run;
}

Status restore_runs_of(Course& course, const Json* runs, const std::string& path) {
  if (runs == nullptr || !runs->is_array() || runs->as_array().size() != course.steps.size())
    return fail(ErrorCode::corrupt, path + ": steps and runs do not match");
  for (std::size_t i = 0; i < course.runs.size(); ++i)
    course.runs[i] = TRY(run_from_json(runs->as_array()[i], path));
  return {};
}

Status restore_course(Course& course, const Json& json, const std::string& path) {
  TRYV(restore_steps(course, json, path));
  TRYV(restore_runs_of(course, json.find("runs"), path));
  restore_place(course, &json);
  return {};
}

}  // namespace

Json head_to_json(const Rollout& r) {
  return Json::object({{"id", r.id},
                       {"by", r.by},
                       {"message", r.message},
                       {"started", format_instant(r.started)},
                       {"ended", r.ended ? Json(format_instant(*r.ended)) : Json()},
                       {"generation", r.generation},
                       {"paused", r.paused},
                       {"resumed", to_millis(r.resumed)},
                       {"abort", r.abort},
                       {"abortedBy", r.aborted_by},
                       {"reverting", r.reverting},
                       {"result", result_name(r.result)},
                       {"summary", r.summary},
                       {"forward", place_to_json(r.forward)},
                       {"back", place_to_json(r.back)}});
}

Json plan_to_json(const Rollout& r) {
  plan::Plan plan = r.plan;
  plan.steps = r.forward.steps;
  plan.waves = r.forward.waves;
  return plan::plan_to_json(plan);
}

Json back_to_json(const Rollout& r) { return steps_and_waves(r.back); }

Json run_to_json(const StepRun& run) {
  return Json::object({{"phase", step_phase_name(run.phase)},
                       {"since", to_millis(run.since)},
                       {"began", run.began ? Json(to_millis(*run.began)) : Json()},
                       {"waiting", run.waiting},
                       {"sent", run.sent},
                       {"unseen", run.unseen ? Json(to_millis(*run.unseen)) : Json()},
                       {"outcome", run.outcome ? plan::outcome_to_json(*run.outcome) : Json()}});
}

Json runs_to_json(const Rollout& r) {
  return Json::object({{"forward", runs_of(r.forward)}, {"back", runs_of(r.back)}});
}

::consort::Result<Rollout> head_from_json(const Json& json) {
  JsonReader reader(json, "rollout");
  Rollout r;
  r.id = reader.string("id");
  r.by = reader.string("by", "");
  r.message = reader.string("message", "");
  r.started = TRY(parse_instant(reader.string("started")));
  if (const auto ended = reader.optional_string("ended")) r.ended = TRY(parse_instant(*ended));
  r.generation = static_cast<std::uint64_t>(reader.integer("generation", 0, 0));
  r.paused = reader.boolean("paused", false);
  r.resumed = from_millis(reader.integer("resumed", 0, 0));
  r.abort = reader.boolean("abort", false);
  r.aborted_by = reader.string("abortedBy", "");
  r.reverting = reader.boolean("reverting", false);
  const std::string result = reader.string("result");
  r.result = TRY(known(result_from_name(result), result));
  r.summary = reader.string("summary", "");
  restore_place(r.forward, reader.any("forward"));
  restore_place(r.back, reader.any("back"));
  TRYV(reader.finish(UnknownMembers::ignore));
  return r;
}

Status restore_plan(Rollout& rollout, const Json& json) {
  rollout.plan = TRY(plan::plan_from_json(json));
  rollout.forward.steps = std::move(rollout.plan.steps);
  rollout.forward.waves = std::move(rollout.plan.waves);
  rollout.plan.steps.clear();
  rollout.plan.waves.clear();
  rollout.forward.runs.assign(rollout.forward.steps.size(), {});
  return {};
}

Status restore_back(Rollout& rollout, const Json& back) {
  return restore_steps(rollout.back, back, "rollout.back");
}

Status restore_runs(Rollout& rollout, const Json& runs) {
  TRYV(restore_runs_of(rollout.forward, runs.find("forward"), "rollout.forward"));
  return restore_runs_of(rollout.back, runs.find("back"), "rollout.back");
}

Status restore_run(Rollout& rollout, RunKey key, const Json& json) {
  Course& course = key.way == Way::forward ? rollout.forward : rollout.back;
  if (key.step < 0 || static_cast<std::size_t>(key.step) >= course.runs.size())
    return fail(ErrorCode::corrupt, fmt::format("rollout {} has no step {}", rollout.id, key.step));
  course.runs[static_cast<std::size_t>(key.step)] = TRY(run_from_json(json, "run"));
  return {};
}

Json rollout_to_json(const Rollout& r) {
  Json out = head_to_json(r);
  out["plan"] = plan::plan_to_json(r.plan);
  out["forward"] = course_to_json(r.forward);
  out["back"] = course_to_json(r.back);
  return out;
}

::consort::Result<Rollout> rollout_from_json(const Json& json) {
  Rollout r = TRY(head_from_json(json));
  if (const Json* plan = json.find("plan")) r.plan = TRY(plan::plan_from_json(*plan));
  if (const Json* course = json.find("forward"))
    TRYV(restore_course(r.forward, *course, "rollout.forward"));
  if (const Json* course = json.find("back")) TRYV(restore_course(r.back, *course, "rollout.back"));
  return r;
}

}  // namespace consort::rollout

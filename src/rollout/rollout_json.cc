// The journal format of a rollout: one JSON object.
#include <fmt/format.h>

#include <array>

#include "base/json_reader.h"
#include "rollout/rollout.h"

namespace consort::rollout {
namespace {

constexpr std::array<std::string_view, 6> kPhases = {"pending", "active", "soaking",
                                                     "done",    "failed", "unreachable"};
constexpr std::array<std::string_view, 5> kResults = {"open", "done", "partial", "reverted",
                                                      "inconsistent"};

template <class Enum, std::size_t N>
::consort::Result<Enum> named(std::string_view name, const std::array<std::string_view, N>& names) {
  for (std::size_t i = 0; i < N; ++i) {
    if (names.at(i) == name) return static_cast<Enum>(i);
  }
  return fail(ErrorCode::corrupt, fmt::format("'{}' is not known in a rollout's journal", name));
}

Json course_to_json(const Course& course) {
  Json::Array steps, waves, runs;
  for (const plan::Step& step : course.steps) steps.push_back(plan::step_to_json(step));
  for (const plan::Wave& wave : course.waves) {
    waves.push_back(Json::object({{"name", wave.name},
                                  {"steps", Json::array_of(wave.steps)},
                                  {"soak", format_duration(wave.soak)}}));
  }
  for (const StepRun& run : course.runs) {
    runs.push_back(
        Json::object({{"phase", kPhases.at(static_cast<std::size_t>(run.phase))},
                      {"since", to_millis(run.since)},
                      {"waiting", run.waiting},
                      {"outcome", run.outcome ? plan::outcome_to_json(*run.outcome) : Json()}}));
  }
  return Json::object({{"steps", steps},
                       {"waves", waves},
                       {"runs", runs},
                       {"wave", course.wave},
                       {"waveSince", to_millis(course.wave_since)}});
}

::consort::Result<Course> course_from_json(const Json& json, const std::string& path) {
  JsonReader reader(json, path);
  Course out;
  for (const Json& step : reader.array("steps"))
    out.steps.push_back(TRY(plan::step_from_json(step, static_cast<int>(out.steps.size()))));
  for (const Json& item : reader.array("waves")) {
    plan::Wave wave;
    wave.name = item.string_or("name");
    wave.soak = TRY(parse_duration(item.string_or("soak", "0s")));
    if (const Json* ids = item.find("steps"); ids != nullptr && ids->is_array()) {
      for (const Json& id : ids->as_array()) {
        if (!id.is_int() || id.as_int() < 0 ||
            id.as_int() >= static_cast<std::int64_t>(out.steps.size()))
          return fail(ErrorCode::corrupt, path + ".waves: no such step");
        wave.steps.push_back(static_cast<int>(id.as_int()));
      }
    }
    out.waves.push_back(std::move(wave));
  }
  for (const Json& item : reader.array("runs")) {
    StepRun run;
    run.phase = TRY(named<StepPhase>(item.string_or("phase"), kPhases));
    run.since = from_millis(item.int_or("since"));
    run.waiting = item.string_or("waiting");
    if (const Json* outcome = item.find("outcome"); outcome != nullptr && outcome->is_object())
      run.outcome = TRY(plan::outcome_from_json(*outcome, path));
    out.runs.push_back(std::move(run));
  }
  if (out.runs.size() != out.steps.size())
    return fail(ErrorCode::corrupt, path + ": steps and runs do not match");
  out.wave = static_cast<std::size_t>(reader.integer("wave", 0, 0));
  out.wave_since = from_millis(reader.integer("waveSince", 0));
  TRYV(reader.finish(UnknownMembers::ignore));
  return out;
}

}  // namespace

Json rollout_to_json(const Rollout& r) {
  return Json::object({{"id", r.id},
                       {"by", r.by},
                       {"message", r.message},
                       {"started", format_instant(r.started)},
                       {"ended", r.ended ? Json(format_instant(*r.ended)) : Json()},
                       {"generation", r.generation},
                       {"paused", r.paused},
                       {"abort", r.abort},
                       {"reverting", r.reverting},
                       {"result", result_name(r.result)},
                       {"summary", r.summary},
                       {"plan", plan::plan_to_json(r.plan)},
                       {"forward", course_to_json(r.forward)},
                       {"back", course_to_json(r.back)}});
}

::consort::Result<Rollout> rollout_from_json(const Json& json) {
  JsonReader reader(json, "rollout");
  Rollout r;
  r.id = reader.string("id");
  r.by = reader.string("by", "");
  r.message = reader.string("message", "");
  r.started = TRY(parse_instant(reader.string("started")));
  if (const auto ended = reader.optional_string("ended")) r.ended = TRY(parse_instant(*ended));
  r.generation = static_cast<std::uint64_t>(reader.integer("generation", 0, 0));
  r.paused = reader.boolean("paused", false);
  r.abort = reader.boolean("abort", false);
  r.reverting = reader.boolean("reverting", false);
  r.result = TRY(named<Result>(reader.string("result"), kResults));
  r.summary = reader.string("summary", "");
  if (const Json* plan = reader.any("plan")) r.plan = TRY(plan::plan_from_json(*plan));
  if (const Json* course = reader.any("forward"))
    r.forward = TRY(course_from_json(*course, "rollout.forward"));
  if (const Json* course = reader.any("back"))
    r.back = TRY(course_from_json(*course, "rollout.back"));
  TRYV(reader.finish(UnknownMembers::ignore));
  return r;
}

}  // namespace consort::rollout

// The caretaker's records of an earlier life, whole or damaged.
#include <fmt/format.h>

#include "agent/caretaker.h"
#include "agent/kept.h"
#include "base/log.h"

namespace consort::agent {
namespace {

// The controller has it, and sends it anew to who holds none. Until then every service is kept as
// it was applied.
Status put_target_aside(const fs::path& file, const Error& damage,
                        const std::function<void(const std::string&)>& tell) {
  const fs::path aside = file.string() + ".damaged";
  TRYV(remove_tree(aside));
  std::error_code ec;
  fs::rename(file, aside, ec);
  if (ec)
    return fail(ErrorCode::io, fmt::format("the agent's record {} is damaged ({}), and cannot be "
                                           "put aside: {}",
                                           file.string(), damage.message(), ec.message()))
        .hint("delete that file: the controller sends it anew");
  tell(
      fmt::format("the agent's record state/target.json was damaged ({}); it is kept as {}, and "
                  "the controller is asked for it anew",
                  damage.message(), aside.filename().string()));
  return {};
}

Result<std::string> read_target(const fs::path& file) {
  std::string text = TRY(read_file(file));
  TRYV(
      plan::target_from_json(TRY(parse_json(text, file.string()))).map([](const plan::Target&) {}));
  return text;
}

// With no records everything would be installed anew over what runs.
Result<std::vector<fs::path>> records_in(const fs::path& folder) {
  auto out = list_folder(folder);
  if (!out)
    return fail(std::move(out).error().context("reading the agent's records"))
        .hint("the agent does not start without them: look at the folder and at its disk");
  std::erase_if(*out, [](const fs::path& path) { return path.extension() != ".json"; });
  return out;
}

}  // namespace

Result<Store> Caretaker::load(const fs::path& state,
                              const std::function<void(const std::string&)>& tell) {
  Store out;
  auto target = read_target(state / "target.json");
  if (target) out["target"] = std::move(*target);
  if (!target && target.error().code() != ErrorCode::not_found)
    TRYV(put_target_aside(state / "target.json", target.error(), tell));
  for (const fs::path& path : TRY(records_in(state / "instances"))) {
    auto text = read_file(path);
    // To the core it is a damaged record, one service's trouble only.
    if (!text) log_error("{}", text.error().message());
    out["instances/" + path.stem().string()] = text.value_or("");
  }
  // A record that was taken away leaves the data behind, which are set up already.
  const KeptFiles kept(state / "kept");
  for (const fs::path& path : TRY(records_in(state / "kept"))) {
    const std::string service = path.stem().string();
    if (!kept.holds_data(service)) continue;
    Instance instance;
    instance.has_data = instance.keeps_data = true;
    out.try_emplace("instances/" + service, instance_to_json(instance).dump());
  }
  return out;
}

}  // namespace consort::agent

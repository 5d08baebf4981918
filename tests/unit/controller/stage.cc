#include "unit/controller/stage.h"

namespace consort::tests {

void Stage::restart() {
  auto restored = controller::Core::restore(store);
  ASSERT_TRUE(restored) << render_error(restored.error());
  core.emplace(std::move(*restored));
  take(core->start(now));
}

void Stage::take(const controller::Output& output) {
  controller::apply_writes(store, output.writes);
  for (const controller::Event& event : output.events) {
    told.push_back(event.at);
    texts.push_back(event.text);
    story.push_back(event.kind + (event.service.empty() ? "" : " " + event.service) +
                    (event.host.empty() ? "" : "@" + event.host));
  }
}

void Stage::hosts_join(const Model& model) {
  for (const auto& [name, record] : model.generation.hosts) {
    take(core->on_contact(name, now));
    report(name);
  }
}

controller::DeployRequest Stage::request(const Model& model) {
  manifests.insert(model.manifests.begin(), model.manifests.end());
  controller::DeployRequest out;
  out.candidate = model.generation;
  out.manifests = manifests;
  out.by = "ada";
  out.message = "for the test";
  return out;
}

Result<std::string> Stage::deploy(const controller::DeployRequest& request) {
  controller::Output output;
  auto id = core->deploy(request, now, output);
  take(output);
  return id;
}

Status Stage::control(const std::string& id, controller::Core::Control what) {
  controller::Output output;
  auto status = core->control(id, what, "adm", now, output);
  take(output);
  return status;
}

plan::HostReport Stage::report_of(const std::string& host) {
  Agent& agent = agents[host];
  plan::HostReport out;
  out.host = host;
  out.boot_id = "boot";
  out.number = ++agent.reports;
  out.epoch = agent.epoch;
  out.seq = agent.seq;
  out.instances = agent.instances;
  return out;
}

void Stage::report(const std::string& host, const Json::Array& events) {
  plan::HostReport out = report_of(host);
  out.events = events;
  take(core->on_report(out, now));
}

bool Stage::agents_act() {
  std::map<std::string, plan::Target> news;  // what follows from it comes with the next round
  for (const auto& [host, agent] : agents) {
    if (!agent.down) take(core->on_poll(host, agent.epoch, agent.seq, now));
    const auto target = core->target_of(host);
    if (!agent.down && target &&
        std::pair(target->epoch, target->seq) != std::pair(agent.epoch, agent.seq))
      news.emplace(host, *target);
  }
  for (const auto& [host, target] : news) {
    Agent& agent = agents.at(host);
    EXPECT_GE(std::pair(target.epoch, target.seq), std::pair(agent.epoch, agent.seq)) << "I12";
    agent.epoch = target.epoch;
    agent.seq = target.seq;
    for (const auto& [service, entry] : target.instances) act(host, agent, service, entry);
    report(host);
  }
  return !news.empty();
}

void Stage::settle() {
  for (int i = 0; i < 200; ++i) {
    now += seconds(1);
    for (const auto& [host, agent] : agents) {
      if (!agent.down) take(core->on_poll(host, agent.epoch, agent.seq, now));
    }
    const bool acted = agents_act();
    if (core->wake() && *core->wake() <= now) take(core->tick(now));
    if (!acted && i > 2) return;
  }
  ADD_FAILURE() << "no rest";
}

void Stage::time_passes(Duration duration) {
  for (const Instant end = now + duration; now < end;) {
    now = std::min(end, now + Duration(500));
    if (core->wake() && *core->wake() <= now) take(core->tick(now));
  }
}

std::string Stage::version_on(const std::string& host, const std::string& service) {
  const auto& instances = agents[host].instances;
  const auto it = instances.find(service);
  if (it == instances.end() || !it->second.applied) return "nothing";
  return manifests.at(it->second.applied->manifest).version;
}

void Stage::act(const std::string& host, Agent& agent, const std::string& service,
                const plan::TargetEntry& entry) {
  plan::InstanceReport& report = agent.instances[service];
  if (report.outcome && report.outcome->attempt == entry.attempt) return;
  plan::Outcome outcome;
  outcome.attempt = entry.attempt;
  const bool fails =
      entry.wanted && agent.failing.contains(manifests.at(entry.wanted->manifest).version);
  if (fails) {
    outcome.result = plan::Outcome::Result::reverted;
    outcome.step = "start";
    outcome.message = "does not start on " + host;
  } else {
    report.applied = entry.wanted;
    const bool runs = entry.wanted && entry.wanted->mode == plan::Mode::running;
    report.health = runs ? plan::Health::healthy : plan::Health::unknown;
  }
  report.outcome = outcome;
}

}  // namespace consort::tests

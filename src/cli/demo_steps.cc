// The eight steps of the demo.
#include <fmt/format.h>

#include "base/text.h"
#include "cli/command.h"
#include "cli/demo_stage.h"

namespace consort::cli {
namespace {

// The live configuration and process of the shop on a host, found by its command line.
constexpr std::string_view kShopProcess =
    "pgrep -f \"^/usr/bin/python3 $CONSORT_ROOT/var/lib/consort/services/shop/.*/shop.py\"";

std::string config_of(std::string_view then) {
  return fmt::format("file=$(tr '\\0' '\\n' < /proc/$({} | head -n 1)/cmdline | tail -n 1); {}",
                     kShopProcess, then);
}

Status check_no_order_lost(Stage& stage) {
  const auto lost = TRY(stage.lost_orders());
  stage.check("every acknowledged order is in PostgreSQL", lost.empty(),
              lost.empty()
                  ? fmt::format("{} orders", stage.orders().all_acknowledged().size())
                  : fmt::format("{} are lost, the first is {}", lost.size(), lost.front()));
  return {};
}

Status check_no_order_failed(Stage& stage, std::size_t begin) {
  TRYV(stage.orders().refresh());
  const auto refused = stage.orders().refused_since(begin);
  stage.check("the customer saw no failed order", refused.empty(),
              refused.empty()
                  ? fmt::format("{} placed meanwhile", stage.orders().acknowledged_since(begin))
                  : fmt::format("{} failed; {}", refused.size(), refused.front()->problem));
  return {};
}

// Both web hosts answer, and only with this release.
Status check_release(Stage& stage, const std::string& release) {
  const std::size_t begin = TRY(stage.mark());
  TRYV(stage.wait_for_orders(20));
  std::set<std::string> hosts;
  for (std::size_t i = begin; i < stage.orders().answers().size(); ++i)
    hosts.insert(stage.orders().answers()[i].host);
  const auto releases = stage.orders().releases_since(begin);
  stage.check(
      fmt::format("{} serves on both web hosts", release),
      releases == std::set{release} && hosts.contains("web1") && hosts.contains("web2"),
      fmt::format("answers came from {} on {}", join({releases.begin(), releases.end()}, ", "),
                  join({hosts.begin(), hosts.end()}, ", ")));
  return {};
}

// As `consort status` sees it.
Status wait_until_healthy(Stage& stage) {
  const auto waited =
      stage.wait_until("every instance is healthy", seconds(60), [&]() -> Result<bool> {
        const Json status = TRY(stage.ask({"status"}));
        for (const auto& [name, service] : status.find("services")->as_object()) {
          for (const Json& instance : service.find("instances")->as_array()) {
            if (instance.string_or("health") != "healthy") return false;
          }
        }
        return true;
      });
  if (!waited) return fail(waited.error());
  return {};
}

Status deploy_v1(Stage& stage) {
  stage.begin_step(
      1, "Deploy the shop: PostgreSQL on db1, the application on web1 and web2, HAProxy on lb1");
  const auto deployed = TRY(stage.consort({"deploy", "--site", "site-v1.jsonnet", "--yes"}));
  if (!stage.check("v1 is deployed on four hosts", deployed.status == kOk,
                   fmt::format("exit status {}", deployed.status)))
    return fail(ErrorCode::unavailable, "without a first deployment there is nothing to show");
  TRYV(stage.start_customer());
  stage.say(
      "A customer places orders at lb1 from now on, without a pause, and writes down every "
      "answer.");
  TRYV(stage.wait_for_orders(50));
  return check_no_order_lost(stage);
}

Status upgrade_v2(Stage& stage) {
  stage.begin_step(2,
                   "Upgrade to v2 while the customer orders: expand the schema once, then one web "
                   "host at a time");
  const std::size_t begin = TRY(stage.mark());
  const auto planned = TRY(stage.consort({"plan", "--site", "site-v2.jsonnet"}));
  stage.check("plan says that there is something to do", planned.status == kChanges,
              fmt::format("exit status {}", planned.status));
  const auto deployed = TRY(stage.consort({"deploy", "--site", "site-v2.jsonnet", "--yes"}));
  stage.check("v2 is deployed", deployed.status == kOk,
              fmt::format("exit status {}", deployed.status));
  TRYV(check_release(stage, "v2"));
  const std::string empty =
      stage.query("SELECT count(*) FROM orders WHERE cents IS NULL").value_or("no such column");
  stage.check("the new column is there and filled", empty == "0", empty == "0" ? "" : empty);
  TRYV(check_no_order_failed(stage, begin));
  return check_no_order_lost(stage);
}

Status fail_v3(Stage& stage) {
  stage.begin_step(3, "Deploy v3, which does not work: it goes back by itself");
  const std::size_t begin = TRY(stage.mark());
  const auto deployed = TRY(stage.consort({"deploy", "--site", "site-v3.jsonnet", "--yes"}));
  stage.check("the rollout was reverted", deployed.status == kReverted,
              fmt::format("exit status {}", deployed.status));
  const std::string told = deployed.output + deployed.errors;
  stage.check(
      "the reason is shown: step and last lines",
      told.find("validate") != std::string::npos && told.find("discount") != std::string::npos);
  TRYV(check_release(stage, "v2"));
  return check_no_order_failed(stage, begin);
}

Status fail_v4(Stage& stage) {
  stage.begin_step(
      4, "Deploy v4: PostgreSQL's data are migrated offline, and the migration destroys them");
  const std::size_t begin = TRY(stage.mark());
  const auto planned = TRY(stage.consort({"plan", "--site", "site-v4.jsonnet"}));
  stage.check("plan declares the joint outage", planned.output.find("outage") != std::string::npos);
  const auto deployed = TRY(stage.consort({"deploy", "--site", "site-v4.jsonnet", "--yes"}));
  stage.check("the rollout was reverted", deployed.status == kReverted,
              fmt::format("exit status {}", deployed.status));
  TRYV(check_release(stage, "v2"));
  const auto refused = stage.orders().refused_since(begin);
  stage.say(fmt::format("{} orders were refused; the shop was closed for {}.", refused.size(),
                        human_duration(stage.orders().longest_gap_since(begin))));
  return check_no_order_lost(stage);
}

Status repair(Stage& stage) {
  stage.begin_step(5, "Damage web1 by hand: the agent repairs it and can say what it did");
  TRY(stage.in_host("web1", config_of("echo oops >> \"$file\"")));
  const std::string is_clean = config_of("grep -q oops \"$file\" && echo damaged || echo clean");
  const auto file = stage.wait_until("the repair of the file", seconds(20), [&]() -> Result<bool> {
    return TRY(stage.look("web1", is_clean)) == "clean";
  });
  stage.check("the changed configuration file was repaired", file.has_value(),
              file ? fmt::format("seen after {}", human_duration(*file)) : file.error().message());
  const std::string pid = TRY(stage.look("web1", std::string(kShopProcess)));
  TRY(stage.in_host("web1", fmt::format("kill -9 $({})", kShopProcess)));
  const auto daemon =
      stage.wait_until("the start of the application", seconds(20), [&]() -> Result<bool> {
        const std::string now = TRY(stage.look(
            "web1",
            fmt::format("{} && curl -sf http://$CONSORT_ADDRESS:8080/healthz", kShopProcess)));
        return !now.empty() && !now.starts_with(pid + "\n");
      });
  stage.check(
      "the killed application runs again", daemon.has_value(),
      daemon ? fmt::format("seen after {}", human_duration(*daemon)) : daemon.error().message());
  std::string told;
  const auto known =
      stage.wait_until("the report of the repair", seconds(20), [&]() -> Result<bool> {
        told = TRY(stage.ask({"explain", "web1", "shop"})).dump();
        return told.find("oops") != std::string::npos;
      });
  TRY(stage.consort({"explain", "web1", "shop"}));
  TRYV(wait_until_healthy(stage));
  stage.check("explain tells what was repaired and why",
              known.has_value() && told.find("repaired") != std::string::npos);
  return {};
}

Status without_controller(Stage& stage) {
  stage.begin_step(6, "Kill the controller, damage web2: the agent needs nobody");
  TRY(stage.consort({"lab", "kill", "controller"}));
  TRY(stage.in_host("web2", config_of("rm \"$file\"")));
  const std::string is_there = config_of("test -s \"$file\" && echo there || echo gone");
  const auto file = stage.wait_until("the repair of the file", seconds(20), [&]() -> Result<bool> {
    return TRY(stage.look("web2", is_there)) == "there";
  });
  stage.check("web2 was repaired without a controller", file.has_value(),
              file ? fmt::format("seen after {}", human_duration(*file)) : file.error().message());
  TRY(stage.consort({"lab", "start", "controller"}));
  const auto known = stage.wait_until("the late report", seconds(30), [&]() -> Result<bool> {
    const std::string told = TRY(stage.ask({"explain", "web2", "shop"})).dump();
    return told.find("repaired") != std::string::npos && told.find("config") != std::string::npos;
  });
  stage.check(
      "the controller is back and knows of it", known.has_value(),
      known ? fmt::format("seen after {}", human_duration(*known)) : known.error().message());
  TRYV(wait_until_healthy(stage));
  TRY(stage.consort({"status"}));
  return {};
}

Status requisites(Stage& stage) {
  stage.begin_step(7, "Ask what web1 needs, across hosts");
  const auto told = TRY(stage.consort({"requisites", "web1", "--site", "site-v2.jsonnet"}));
  const bool complete = told.status == kOk && told.output.find("postgres") != std::string::npos &&
                        told.output.find("db1") != std::string::npos;
  stage.check("it needs PostgreSQL's objects on db1", complete,
              fmt::format("exit status {}", told.status));
  return {};
}

Status roll_back(Stage& stage) {
  stage.begin_step(8,
                   "Roll back to v1: the application first, then the schema, by v2's own way down");
  const std::size_t begin = TRY(stage.mark());
  const auto done = TRY(stage.consort({"rollback", "--to", "1", "--yes"}));
  stage.check("v1 is back", done.status == kOk, fmt::format("exit status {}", done.status));
  TRYV(check_release(stage, "v1"));
  const auto columns = stage.query(
      "SELECT count(*) FROM information_schema.columns WHERE table_name = 'orders' AND column_name "
      "= 'cents'");
  stage.check("the schema is contracted", columns && *columns == "0",
              columns ? "" : columns.error().message());
  TRYV(check_no_order_failed(stage, begin));
  stage.stop_customer();
  return check_no_order_lost(stage);
}

}  // namespace

Status play(Stage& stage) {
  for (const auto& step :
       {deploy_v1, upgrade_v2, fail_v3, fail_v4, repair, without_controller, requisites, roll_back})
    TRYV(step(stage));
  return {};
}

}  // namespace consort::cli

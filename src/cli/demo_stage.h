// Where the demo plays: a lab, a copy of the example, a customer; telling what happens, and keeping
// the checks.
#pragma once

#include <string>
#include <vector>

#include "base/process.h"
#include "cli/order_client.h"
#include "platform/lab.h"

namespace consort::cli {

struct DemoCheck {
  int step = 0;
  std::string what;
  bool passed = false;
  std::string detail;
};

class Stage {
 public:
  // `folder` gets site/ (with the lab's hosts.yaml), lab/ belongs to the lab, orders.jsonl is the
  // customer's.
  Stage(platform::Lab lab, fs::path folder, fs::path self);

  // --- telling ---
  void begin_step(int number, std::string_view title);
  void say(std::string_view text);
  // Keeps and tells the outcome; returns `passed`.
  bool check(std::string what, bool passed, std::string detail = "");
  [[nodiscard]] const std::vector<DemoCheck>& checks() const { return checks_; }

  // --- acting --- Errors: interrupted; or when the program cannot be started.
  // `consort ARGS…` as a user would type it, in site/; its output is shown.
  [[nodiscard]] Result<ProcessOutcome> consort(std::vector<std::string> arguments);
  // The same with --json, not shown: the record that it prints. Any exit status.
  [[nodiscard]] Result<Json> ask(std::vector<std::string> arguments);
  // A shell command in a host; shown as `consort lab exec HOST -- sh -c '…'`.
  [[nodiscard]] Result<ProcessOutcome> in_host(const std::string& host, const std::string& script);
  // The same, not shown.
  [[nodiscard]] Result<std::string> look(const std::string& host, const std::string& script);
  // One value or table from PostgreSQL.
  [[nodiscard]] Result<std::string> query(const std::string& sql);
  // Asks `condition` again and again. Its time, or timeout with `what` in the message.
  [[nodiscard]] Result<Duration> wait_until(const std::string& what, Duration limit,
                                            const std::function<Result<bool>()>& condition);

  // --- the customer ---
  [[nodiscard]] Status start_customer();
  void stop_customer();
  [[nodiscard]] Result<std::size_t> mark();  // the number of answers so far
  OrderRecord& orders() { return orders_; }
  [[nodiscard]] Status wait_for_orders(std::size_t more);
  // Acknowledged orders that PostgreSQL does not have, as they were placed.
  [[nodiscard]] Result<std::vector<std::int64_t>> lost_orders();
  [[nodiscard]] const platform::Lab& lab() const { return lab_; }
  [[nodiscard]] platform::Lab& lab() { return lab_; }

 private:
  [[nodiscard]] Result<ProcessOutcome> run(const std::vector<std::string>& argv, bool shown);

  platform::Lab lab_;
  fs::path folder_;
  fs::path self_;
  OrderRecord orders_;
  platform::Keeper customer_;
  std::vector<DemoCheck> checks_;
  int step_ = 0;
};

// The eight steps. An error ends the demo; what a check finds does not.
[[nodiscard]] Status play(Stage& stage);

// Ctrl-C: sets a flag and ends the program that runs. Async-signal-safe.
void interrupt_stage();
[[nodiscard]] Status check_not_interrupted();

}  // namespace consort::cli

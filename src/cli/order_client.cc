#include "cli/order_client.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <thread>

#include "base/json.h"
#include "base/text.h"
#include "cli/rows.h"
#include "http/client.h"

namespace consort::cli {
namespace {

volatile std::sig_atomic_t leaving = 0;

Instant system_now() {
  return std::chrono::time_point_cast<Duration>(std::chrono::system_clock::now());
}

Json place_order(http::Client& client, std::int64_t quantity) {
  const Json order = Json::object({{"item", "tea"}, {"quantity", quantity}});
  const auto answer =
      client.request("POST", "/orders", {{"Content-Type", "application/json"}}, order.dump());
  Json line = Json::object(
      {{"at", to_millis(system_now())}, {"quantity", quantity}, {"acknowledged", false}});
  if (!answer) {
    line["problem"] = answer.error().message();
    return line;
  }
  const auto body = parse_json(answer->body);
  if (answer->status == 201 && body && body->int_or("number") > 0) {
    line["acknowledged"] = true;
    line["number"] = body->int_or("number");
    line["release"] = body->string_or("release");
    line["host"] = body->string_or("host");
  } else {
    line["problem"] = fmt::format(
        "{} {}", answer->status,
        body ? body->string_or("error") : std::string(trim(answer->body)).substr(0, 200));
  }
  return line;
}

}  // namespace

Result<int> order_client_main(const std::string& url, const fs::path& record, Duration every) {
  std::signal(SIGTERM, [](int) { leaving = 1; });
  const Fd file(::open(record.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (!file.valid()) return fail_errno(errno, fmt::format("cannot open {}", record.string()));
  http::ClientOptions options;
  options.connect_timeout = seconds(5);
  options.timeout = seconds(20);
  auto client = TRY(http::Client::create(url, options));
  for (std::int64_t i = 0; leaving == 0; ++i) {
    // Written before the next order is placed: what was acknowledged is never forgotten.
    TRYV(write_all(file.get(), place_order(client, 1 + i % 9).dump() + "\n", record.string()));
    std::this_thread::sleep_for(every);
  }
  return kOk;
}

Status OrderRecord::refresh() {
  const std::string text = TRY(read_file(file_));
  for (std::size_t end = 0; (end = text.find('\n', read_)) != std::string::npos; read_ = end + 1) {
    const Json line =
        TRY(parse_json(std::string_view(text).substr(read_, end - read_), file_.string()));
    answers_.push_back({from_millis(line.int_or("at")), line.bool_or("acknowledged"),
                        line.int_or("number"), line.int_or("quantity"), line.string_or("release"),
                        line.string_or("host"), line.string_or("problem")});
  }
  return {};
}

std::size_t OrderRecord::acknowledged_since(std::size_t begin) const {
  std::size_t out = 0;
  for (std::size_t i = begin; i < answers_.size(); ++i) out += answers_[i].acknowledged ? 1 : 0;
  return out;
}

std::vector<const OrderAnswer*> OrderRecord::refused_since(std::size_t begin) const {
  std::vector<const OrderAnswer*> out;
  for (std::size_t i = begin; i < answers_.size(); ++i) {
    if (!answers_[i].acknowledged) out.push_back(&answers_[i]);
  }
  return out;
}

std::set<std::string> OrderRecord::releases_since(std::size_t begin) const {
  std::set<std::string> out;
  for (std::size_t i = begin; i < answers_.size(); ++i) {
    if (answers_[i].acknowledged) out.insert(answers_[i].release);
  }
  return out;
}

Duration OrderRecord::longest_gap_since(std::size_t begin) const {
  Duration out{};
  bool refused = false;
  const OrderAnswer* last = nullptr;
  for (std::size_t i = begin; i < answers_.size(); ++i) {
    const OrderAnswer& answer = answers_[i];
    refused = refused || !answer.acknowledged;
    if (!answer.acknowledged) continue;
    if (refused && last != nullptr) out = std::max(out, Duration(answer.at - last->at));
    refused = false;
    last = &answer;
  }
  return out;
}

std::map<std::int64_t, std::int64_t> OrderRecord::all_acknowledged() const {
  std::map<std::int64_t, std::int64_t> out;
  for (const OrderAnswer& answer : answers_) {
    if (answer.acknowledged) out[answer.number] = answer.quantity;
  }
  return out;
}

Command demo_client_command() {
  return {"demo-client",
          "Places orders at the demo's shop and writes down the answers.",
          "Started by `consort demo`.",
          {{"URL", "Where the shop is."},
           {"RECORD", "The file for the answers, one JSON object a line."}},
          {},
          [](const Arguments& arguments) {
            return order_client_main(arguments.word(0), arguments.word(1), Duration(20));
          },
          true};
}

}  // namespace consort::cli

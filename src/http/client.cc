#include "http/client.h"

#include <fmt/format.h>

#include <mutex>

#include "http/channel.h"
#include "http/event_reader.h"
#include "http/http1.h"
#include "http/url.h"

namespace consort::http {
namespace {

constexpr std::size_t kHeaderLimit = 64U << 10U;

bool idempotent(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "PUT" || method == "DELETE";
}

Deadline deadline_in(Duration duration) { return std::chrono::steady_clock::now() + duration; }

}  // namespace

struct Client::Impl {
  Impl(std::string client_url, Url parsed, ClientOptions client_options, WakeUp wake_up)
      : text(std::move(client_url)),
        url(std::move(parsed)),
        options(std::move(client_options)),
        wake(std::move(wake_up)) {}

  const std::string text;
  const Url url;
  const ClientOptions options;
  const WakeUp wake;
  std::mutex mutex;
  std::optional<Channel> channel;  // guarded: idle and reusable, or absent

  [[nodiscard]] std::string text_of(std::string_view method, std::string_view target,
                                    const Headers& headers, std::string_view body) const {
    Headers all = headers;
    all.set("Host", url.authority());
    if (!all.has("User-Agent")) all.set("User-Agent", "consort");
    if (!options.token.empty() && !all.has("Authorization"))
      all.set("Authorization", "Bearer " + options.token);
    return request_text(method, url.base + std::string(target), all, body);
  }

  [[nodiscard]] Result<Channel> connect(Deadline deadline) const {
    auto out = Channel::connect(url, url.scheme == "https" ? options.tls.get() : nullptr, wake,
                                std::min(deadline, deadline_in(options.connect_timeout)));
    if (!out && out.error().code() == ErrorCode::unavailable && !options.how_to_start.empty())
      return fail(Error(out.error()).hint(options.how_to_start));
    return out;
  }

  // `answered` tells whether any byte of an answer came: if not, the request may be sent again.
  Result<Response> exchange(Channel& on, std::string_view request, ResponseParser::Body body,
                            Deadline deadline, bool& answered, bool& reusable) const {
    TRYV(on.write_all(request, deadline));
    auto parser = std::make_unique<ResponseParser>(kHeaderLimit, options.max_response_bytes, body);
    std::string input;
    while (!parser->done()) {
      const std::string_view bytes = TRY(on.read_some(deadline));
      if (bytes.empty()) {
        TRYV(parser->feed_end());
        break;
      }
      answered = true;
      input.append(bytes);
      while (!input.empty() && !parser->done()) {
        const std::size_t used = TRY(parser->feed(input));
        input.erase(0, used);
        // "100 Continue" and its like come before the answer proper.
        if (parser->done() && parser->head().status < 200)
          parser = std::make_unique<ResponseParser>(kHeaderLimit, options.max_response_bytes, body);
        if (used == 0) break;
      }
    }
    reusable = parser->done() && parser->keep_alive() && input.empty();
    Response response = parser->head();
    response.body = parser->take_body();
    return response;
  }

  Result<Json> json_of_answer(const Response& response) const {
    if (options.only_consort && !response.headers.get(kApiHeader)) {
      return fail(ErrorCode::unavailable,
                  fmt::format("what answers at {} is no Consort controller (it said {} {})", text,
                              response.status, reason_phrase(response.status)))
          .hint("is this the controller's address? Its log says where it listens");
    }
    return json_of(response);
  }

  Result<Response> request(std::string_view method, std::string_view target, const Headers& headers,
                           std::string_view body, Deadline deadline) {
    const std::lock_guard lock(mutex);
    const std::string text_to_send = text_of(method, target, headers, body);
    const auto body_kind =
        method == "HEAD" ? ResponseParser::Body::none : ResponseParser::Body::expected;
    while (true) {
      std::optional<Channel> used = std::exchange(channel, std::nullopt);
      const bool old = used && used->reusable();
      if (!old) used.emplace(TRY(connect(deadline)));
      bool answered = false;
      bool reusable = false;
      auto response = exchange(*used, text_to_send, body_kind, deadline, answered, reusable);
      if (response && reusable) channel = std::move(used);
      if (response || !old || answered || !idempotent(method) ||
          response.error().code() != ErrorCode::unavailable)
        return response;
    }
  }
};

Client::Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client::Client(Client&& other) noexcept = default;
Client::~Client() = default;

Result<Client> Client::create(std::string_view url, ClientOptions options) {
  Url parsed = TRY(parse_url(url));
  if (parsed.scheme == "https" && options.tls == nullptr) {
    // Reading some hundred authorities takes a while.
    static const auto machine = ClientTls::of_this_machine();
    options.tls = TRY(Result<std::shared_ptr<ClientTls>>(machine));
  }
  return Client(std::make_unique<Impl>(std::string(url), std::move(parsed), std::move(options),
                                       TRY(WakeUp::create())));
}

Result<Response> Client::request(std::string_view method, std::string_view target,
                                 const Headers& headers, std::string_view body,
                                 std::optional<Duration> timeout) {
  auto response = impl_->request(method, target, headers, body,
                                 deadline_in(timeout.value_or(impl_->options.timeout)));
  if (!response)
    response.error().add_context(
        fmt::format("while asking {} for {} {}", impl_->text, method, target));
  return response;
}

Result<Json> Client::get_json(std::string_view target, std::optional<Duration> timeout) {
  return impl_->json_of_answer(TRY(get(target, timeout)));
}

Result<Json> Client::send_json(std::string_view method, std::string_view target, const Json& body,
                               std::optional<Duration> timeout) {
  return impl_->json_of_answer(
      TRY(request(method, target, {{"Content-Type", "application/json"}}, body.dump(), timeout)));
}

Status Client::stream_events(std::string_view target, std::string_view last_event_id,
                             const std::function<Next(const Event&)>& on_event) {
  Headers headers{{"Accept", "text/event-stream"}};
  if (!last_event_id.empty()) headers.set("Last-Event-ID", last_event_id);
  const Deadline opened_by = deadline_in(impl_->options.timeout);
  Channel channel = TRY(impl_->connect(opened_by));
  TRYV(channel.write_all(impl_->text_of("GET", target, headers, {}), opened_by));
  ResponseParser parser(kHeaderLimit, 0, ResponseParser::Body::expected);
  EventReader reader(impl_->options.max_response_bytes, std::string(last_event_id));
  std::string input;
  std::string error_body;
  while (!parser.done()) {
    const auto deadline =
        parser.head_done() ? deadline_in(impl_->options.stream_silence) : opened_by;
    const std::string_view bytes = TRY(channel.read_some(deadline));
    if (bytes.empty()) {
      TRYV(parser.feed_end());
      break;
    }
    input.append(bytes);
    while (!input.empty() && !parser.done()) {
      const std::size_t used = TRY(parser.feed(input));
      input.erase(0, used);
      if (used == 0) break;
    }
    if (!parser.head_done()) continue;
    if (!parser.head().ok()) {
      error_body += parser.take_body();
      if (error_body.size() > impl_->options.max_response_bytes)
        return fail(ErrorCode::too_large, "the answer is over its limit");
      continue;
    }
    for (const Event& event : TRY(reader.feed(parser.take_body()))) {
      if (on_event(event) == Next::stop) return {};
    }
  }
  Response response = parser.head();
  if (response.ok()) return {};
  response.body = error_body + parser.take_body();
  return tl::unexpected<Error>(error_of(response));
}

void Client::cancel() { impl_->wake.set(); }
void Client::resume() { impl_->wake.clear(); }
const std::string& Client::url() const { return impl_->text; }

}  // namespace consort::http

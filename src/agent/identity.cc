#include "agent/identity.h"

#include <fmt/format.h>

#include "access/tokens.h"
#include "agent/backoff.h"
#include "base/json_reader.h"
#include "base/log.h"
#include "crypto/certificates.h"
#include "http/client.h"

namespace consort::agent {
namespace {

constexpr Duration kAskAgain = seconds(2);  // while an admin has to approve

Result<http::Client> client_with(const std::string& url, std::shared_ptr<http::ClientTls> tls,
                                 const std::string& token = "") {
  http::ClientOptions options;
  options.tls = std::move(tls);
  options.token = token;
  options.only_consort = true;
  return http::Client::create(url, options);
}

std::string host_file(const crypto::PrivateKey& key, const std::string& chain_pem) {
  return std::string(key.to_pem().reveal()) + chain_pem;
}

// host.pem: the key's block, then certificates.
Result<std::pair<crypto::PrivateKey, std::string>> parse_host_file(const std::string& text) {
  const std::size_t begin = text.find("-----BEGIN CERTIFICATE-----");
  if (begin == std::string::npos) return fail(ErrorCode::corrupt, "there is no certificate in it");
  return std::pair(TRY(crypto::PrivateKey::from_pem(std::string_view(text).substr(0, begin))),
                   text.substr(begin));
}

Result<crypto::Identity> identity_of(const std::string& chain_pem) {
  return TRY(crypto::certificates_from_pem(chain_pem)).front().identity();
}

// What the controller says to a request that it cannot answer yet is no error.
Result<std::optional<Json>> answer_of(const http::Response& response) {
  if (response.status == 202) return std::nullopt;
  if (!response.ok()) return fail(http::error_of(response));
  return TRY(http::json_of(response));
}

bool worth_waiting(const Error& error) {
  return error.code() == ErrorCode::unavailable || error.code() == ErrorCode::timeout;
}

// joined.json.
struct Joined {
  std::string name;
  std::string controller;
  std::string partition;
};

Status write_joined(const fs::path& folder, const Joined& joined) {
  return write_file_atomic(folder / "joined.json",
                           Json::object({{"name", joined.name},
                                         {"controller", joined.controller},
                                         {"partition", joined.partition}})
                                   .dump() +
                               "\n",
                           0644);
}

Result<Joined> read_joined(const fs::path& folder) {
  const fs::path file = folder / "joined.json";
  const Json json = TRY(parse_json(TRY(read_file(file, 64U << 10U)), file.string()));
  JsonReader reader(json, "");
  Joined out;
  out.name = reader.string("name");
  out.controller = reader.string("controller");
  out.partition = reader.string("partition");
  TRYV(reader.finish());
  return out;
}

bool is_there(const fs::path& file) {
  std::error_code ec;
  return fs::exists(file, ec);
}

Status store(const fs::path& folder, const crypto::PrivateKey& key, const Json& answer,
             const JoinOrder& order) {
  const std::string chain = answer.string_or("certificate");
  const crypto::Identity identity = TRY(identity_of(chain));
  if (identity.kind != crypto::IdentityKind::host || identity.name != order.name)
    return fail(ErrorCode::invalid_input,
                fmt::format("the controller gave a certificate for {}", identity.uri()));
  TRYV(write_file_atomic(folder / "host.pem", host_file(key, chain), 0600));
  TRYV(write_file_atomic(folder / "authority.pem", answer.string_or("authority"), 0644));
  // Last: with it the host has joined.
  return write_joined(folder, {order.name, order.controller, identity.partition});
}

// The key of an earlier try, or a new one, on disk before anybody hears of it.
Result<crypto::PrivateKey> next_key(const fs::path& folder) {
  const fs::path file = folder / "next.pem";
  if (auto text = read_file(file, crypto::kPemLimit)) {
    auto key = crypto::PrivateKey::from_pem(*text);
    crypto::wipe(*text);
    if (key) return key;
  }
  crypto::PrivateKey key = crypto::PrivateKey::generate(crypto::KeyKind::ecdsa_p256);
  TRYV(write_file_atomic(file, key.to_pem().reveal(), 0600));
  return key;
}

// All but the controller is in the certificate.
Result<Joined> joined_by_certificate(const fs::path& folder, const std::string& controller,
                                     const Error& damage) {
  auto text = read_file(folder / "host.pem", 2 * crypto::kPemLimit);
  const auto parsed = text ? parse_host_file(*text)
                           : Result<std::pair<crypto::PrivateKey, std::string>>(
                                 fail(ErrorCode::corrupt, text.error().message()));
  if (text) crypto::wipe(*text);
  const auto identity =
      parsed ? identity_of(parsed->second) : Result<crypto::Identity>(fail(parsed.error()));
  if (!identity)
    return fail(ErrorCode::corrupt,
                fmt::format("the identity of this host in {} is damaged: {}; {}", folder.string(),
                            damage.message(), identity.error().message()))
        .hint("remove that folder and join again with a new token");
  if (controller.empty())
    return fail(ErrorCode::corrupt,
                fmt::format("it is not known where this host has joined: {}", damage.message()))
        .hint(
            "say once where: consort agent --controller https://…; all else is in its "
            "certificate");
  log_warn("{}; made anew from this host's certificate and --controller", damage.message());
  Joined out{identity->name, controller, identity->partition};
  if (is_there(folder / "joined.json")) TRYV(remove_tree(folder / "joined.json"));
  TRYV(write_joined(folder, out));
  return out;
}

}  // namespace

Result<std::shared_ptr<Identity>> Identity::open(const fs::path& folder,
                                                 const std::string& controller) {
  auto joined = read_joined(folder);
  const bool absent = !joined && joined.error().code() == ErrorCode::not_found;
  // With next.pem it was the joining that was ended halfway: that goes on.
  if (absent && (!is_there(folder / "host.pem") || is_there(folder / "next.pem")))
    return fail(ErrorCode::not_found, "this host has not joined a controller yet")
        .hint(
            "consort agent --join-file FILE --controller https://…, with a token of: consort token "
            "create");
  if (!joined) joined = joined_by_certificate(folder, controller, joined.error());
  if (!joined) return fail(std::move(joined).error());
  auto out = std::shared_ptr<Identity>(new Identity(folder, joined->name, joined->controller));
  out->partition_ = joined->partition;
  if (const Status status = out->load(); !status)
    return fail(ErrorCode::corrupt, fmt::format("the identity of this host in {} is damaged: {}",
                                                folder.string(), status.error().message()))
        .hint("remove that folder and join again with a new token");
  return out;
}

Status Identity::load() {
  std::string text = TRY(read_file(folder_ / "host.pem", 2 * crypto::kPemLimit));
  const auto [key, chain] = TRY(parse_host_file(text));
  crypto::wipe(text);
  authority_pem_ = TRY(read_file(folder_ / "authority.pem", crypto::kPemLimit));
  return take(key, chain);
}

Status Identity::take(const crypto::PrivateKey& key, const std::string& chain_pem) {
  const crypto::Certificate certificate = TRY(crypto::certificates_from_pem(chain_pem)).front();
  http::ClientTlsOptions options;
  options.trust.roots_pem = authority_pem_;
  options.identity = http::TlsIdentity{chain_pem, key.to_pem()};
  options.partition = partition_;
  if (tls_) {
    TRYV(tls_->replace(options));
  } else {
    tls_ = TRY(http::ClientTls::create(options));
  }
  const std::lock_guard lock(mutex_);
  key_ = key;
  not_before_ = certificate.not_before();
  not_after_ = certificate.not_after();
  return {};
}

Result<std::shared_ptr<Identity>> Identity::join(const fs::path& folder, const JoinOrder& order,
                                                 const std::function<bool(Duration)>& stopped) {
  const access::JoinTokenText token = TRY(access::JoinTokenText::parse(order.token.reveal()));
  TRYV(make_folders(folder, 0700));
  const crypto::PrivateKey key = TRY(next_key(folder));
  // The partition is the controller's to say; what is claimed of it is not looked at.
  const std::string request =
      TRY(crypto::make_request(key, {crypto::IdentityKind::host, "any", order.name}));
  http::ClientTlsOptions tls;
  tls.pinned_root = token.ca;
  http::Client client = TRY(client_with(order.controller, TRY(http::ClientTls::create(tls)),
                                        std::string(order.token.reveal())));
  const Json body = Json::object({{"request", request}, {"machine", order.machine_id}});
  Backoff backoff(kAskAgain, seconds(30), 0);
  bool told = false;
  while (true) {
    Duration wait = kAskAgain;
    const auto response =
        client.request("POST", "/v1/join", {{"Content-Type", "application/json"}}, body.dump());
    auto answer =
        response ? answer_of(*response) : Result<std::optional<Json>>(fail(response.error()));
    if (answer && *answer) {
      TRYV(store(folder, key, **answer, order));
      TRYV(remove_tree(folder / "next.pem"));
      return open(folder);
    }
    if (!answer && !worth_waiting(answer.error()))
      return fail(std::move(answer).error().context("joining " + order.controller));
    if (!answer) {
      log_warn("joining {}: {}; trying again", order.controller, answer.error().message());
      wait = backoff.next();
    } else if (!std::exchange(told, true)) {
      log_info("an admin must let this host in: consort host approve {}", order.name);
    }
    if (stopped(wait)) return fail(ErrorCode::interrupted, "stopped before this host had joined");
  }
}

Instant Identity::renew_at() const {
  const std::lock_guard lock(mutex_);
  return not_before_ + (not_after_ - not_before_) * 2 / 3;
}

Status Identity::renew(Instant now) {
  std::optional<crypto::PrivateKey> key;
  bool believed = false;
  {
    const std::lock_guard lock(mutex_);
    believed = now < not_after_;
    key = key_;
  }
  const auto ask = [&](const crypto::PrivateKey& with, std::shared_ptr<http::ClientTls> tls,
                       const char* target) -> Result<Json> {
    http::Client client = TRY(client_with(controller_, std::move(tls)));
    const std::string request =
        TRY(crypto::make_request(with, {crypto::IdentityKind::host, partition_, name_}));
    return client.send_json("POST", target, Json::object({{"request", request}}));
  };
  Result<Json> answer = fail(ErrorCode::unauthenticated, "the certificate has expired");
  if (believed) {
    key = TRY(next_key(folder_));
    answer = ask(*key, tls_, "/v1/renew");
  }
  if (!answer && !worth_waiting(answer.error())) {
    http::ClientTlsOptions options;
    {
      const std::lock_guard lock(mutex_);
      options.trust.roots_pem = authority_pem_;
      key = key_;
    }
    options.partition = partition_;
    const auto unnamed = TRY(http::ClientTls::create(options));
    answer = ask(*key, unnamed, "/v1/rejoin");
    // A crash may have fallen between the controller's answer and our writing it down.
    if (!answer && fs::exists(folder_ / "next.pem")) {
      key = TRY(next_key(folder_));
      answer = ask(*key, unnamed, "/v1/rejoin");
    }
  }
  if (!answer) return fail(std::move(answer).error());
  const std::string chain = answer->string_or("certificate");
  const crypto::Identity identity = TRY(identity_of(chain));
  if (identity.kind != crypto::IdentityKind::host || identity.name != name_)
    return fail(ErrorCode::invalid_input,
                fmt::format("the controller gave a certificate for {}", identity.uri()));
  TRYV(write_file_atomic(folder_ / "host.pem", host_file(*key, chain), 0600));
  TRYV(remove_tree(folder_ / "next.pem"));
  TRYV(take(*key, chain));
  log_info("the certificate of {} is renewed", name_);
  return {};
}

}  // namespace consort::agent

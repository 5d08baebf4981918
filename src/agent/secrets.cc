#include "agent/secrets.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "access/secrets.h"
#include "base/json_reader.h"
#include "base/log.h"
#include "base/text.h"
#include "crypto/seal.h"
#include "http/target.h"
#include "signing/sealed_secret.h"

namespace consort::agent {
namespace {

constexpr std::size_t kFileBytes = crypto::kSealedLimit + (1U << 20U);
constexpr std::size_t kMostTaintBytes = 16U << 20U;

Result<crypto::PrivateKey> load_key(const fs::path& file) {
  std::string text = TRY(read_file(file, crypto::kPemLimit));
  auto key = crypto::PrivateKey::from_pem(text);
  crypto::wipe(text);
  if (!key) return fail(ErrorCode::corrupt, key.error().message());
  if (key->kind() != crypto::KeyKind::x25519)
    return fail(ErrorCode::corrupt, "it is no X25519 key");
  return key;
}

Result<crypto::PrivateKey> key_in(const fs::path& folder) {
  const fs::path file = folder / "key.pem";
  auto key = load_key(file);
  if (key) return key;
  if (key.error().code() == ErrorCode::corrupt) {
    log_error(
        "the key of this host's secrets, {}, is damaged ({}); there is a new one: let them be "
        "sealed anew with `consort secret reseal`",
        file.string(), key.error().message());
    std::error_code ec;
    fs::rename(file, folder / "key.pem.damaged", ec);
  } else if (key.error().code() != ErrorCode::not_found) {
    return key;
  }
  crypto::PrivateKey fresh = crypto::PrivateKey::generate(crypto::KeyKind::x25519);
  // On the disk before anything can be sealed to it.
  TRYV(write_file_atomic(file, fresh.to_pem().reveal(), 0600));
  return fresh;
}

Result<std::set<std::string>> read_paths(const fs::path& file) {
  const Json json = TRY(parse_json(TRY(read_file(file, kMostTaintBytes)), file.string()));
  JsonReader reader(json, "");
  const std::vector<std::string> paths = reader.strings("paths");
  TRYV(reader.finish());
  return std::set<std::string>(paths.begin(), paths.end());
}

}  // namespace

Result<std::unique_ptr<Secrets>> Secrets::open(const fs::path& folder, const Upstream& upstream,
                                               std::string host,
                                               std::optional<signing::TrustList> trust) {
  TRYV(make_folders(folder, 0700));
  auto out = std::unique_ptr<Secrets>(
      new Secrets(folder, std::move(host), TRY(key_in(folder)), std::move(trust)));
  if (upstream.tls) {
    http::ClientOptions options;
    options.connect_timeout = seconds(5);
    options.timeout = seconds(20);
    out->client_ = std::make_unique<http::Client>(TRY(upstream.client(options)));
  }
  TRYV(out->load_taints());
  return out;
}

Status Secrets::load_taints() {
  const fs::path file = folder_ / "tainted.json";
  auto paths = read_paths(file);
  if (paths) {
    tainted_ = std::move(*paths);
  } else if (paths.error().code() == ErrorCode::io) {
    return fail(std::move(paths).error());
  } else if (paths.error().code() != ErrorCode::not_found) {
    log_error(
        "the list of files that have held a secret, {}, is damaged ({}) and put aside: of what has "
        "a secret now no copy is kept all the same, of what had one before there may be",
        file.string(), paths.error().message());
    if (::rename(file.c_str(), (folder_ / "tainted.json.damaged").c_str()) != 0)
      return fail_errno(errno, fmt::format("cannot put {} aside", file.string()));
  }
  return {};
}

Status Secrets::write_taints() const {
  const std::vector<std::string> paths(tainted_.begin(), tainted_.end());
  const std::string text = Json::object({{"paths", Json::array_of(paths)}}).dump() + "\n";
  if (text.size() > kMostTaintBytes)
    return fail(ErrorCode::too_large,
                fmt::format("{} files on this host have held a secret: no more can be remembered",
                            paths.size()))
        .hint("write secrets to files whose names stay the same");
  return write_file_atomic(folder_ / "tainted.json", text, 0600);
}

fs::path Secrets::file_of(const SecretReference& reference) const {
  return folder_ / fmt::format("{}.{}.json", reference.name, reference.version);
}

Result<crypto::SecretBytes> Secrets::open_stored(const SecretReference& reference) const {
  const fs::path file = file_of(reference);
  const Json json = TRY(parse_json(TRY(read_file(file, kFileBytes)), file.string()));
  JsonReader reader(json, "");
  const std::string partition = reader.string("partition");
  const std::vector<std::string> services = reader.strings("services");
  const std::string sealed = reader.string("sealed");
  TRYV(reader.finish());
  if (std::find(services.begin(), services.end(), reference.service) == services.end())
    return fail(ErrorCode::refused,
                fmt::format("the secret '{}' is for {}, not for {}", reference.name,
                            join(services, ", "), reference.service))
        .hint(fmt::format("consort secret reseal {} --service {}", reference.name,
                          reference.service));
  auto value = crypto::open(sealed, key_,
                            access::secret_context(partition, reference.name, reference.version));
  if (!value && value.error().code() == ErrorCode::refused)
    return fail(ErrorCode::refused,
                fmt::format("version {} of the secret '{}' is not sealed for this host",
                            reference.version, reference.name))
        .hint(fmt::format("consort secret reseal {}", reference.name));
  return value;
}

Status Secrets::download(const SecretReference& reference) {
  if (!client_)
    return fail(ErrorCode::unavailable,
                fmt::format(
                    "the secret '{}' is not here, and this agent knows no controller with TLS",
                    reference.name))
        .hint("secrets need a host that has joined with: consort agent --join-file");
  const Json answer = TRY(client_->get_json(
      fmt::format("/v1/agents/{}/secrets?secret={}&version={}", http::percent_encode(host_),
                  http::percent_encode(reference.name), reference.version)));
  JsonReader reader(answer, "");
  const std::string partition = reader.string("partition");
  access::SealedSecret secret;
  secret.name = reader.string("name");
  secret.version = static_cast<std::uint64_t>(reader.integer("version"));
  secret.services = reader.strings("services");
  secret.sealed = reader.string("sealed");
  secret.signatures = access::read_signatures(reader);
  TRYV(reader.finish(UnknownMembers::ignore));
  if (secret.name != reference.name || secret.version != reference.version)
    return fail(ErrorCode::invalid_input, "the controller sent another secret");
  if (trust_) TRYV(signing::check_secret(*trust_, partition, secret));
  const Json kept = Json::object({{"partition", partition},
                                  {"services", Json::array_of(secret.services)},
                                  {"sealed", secret.sealed}});
  return write_file_atomic(file_of(reference), kept.dump() + "\n", 0600);
}

Status Secrets::fetch(const SecretReference& reference) {
  {
    const std::lock_guard lock(stored_mutex_);
    const auto stored = open_stored(reference);
    if (stored && ::utimensat(AT_FDCWD, file_of(reference).c_str(), nullptr, 0) == 0) return {};
  }
  TRYV(download(reference));
  const auto stored = open_stored(reference);
  if (!stored) return tl::unexpected<Error>(stored.error());
  return {};
}

Result<crypto::SecretBytes> Secrets::value(const SecretReference& reference) {
  auto stored = open_stored(reference);
  if (stored) return stored;
  // Lost, or sealed anew meanwhile.
  if (const Status status = download(reference); !status) {
    Error error = stored.error().code() == ErrorCode::not_found ? status.error() : stored.error();
    return fail(std::move(error));
  }
  return open_stored(reference);
}

Status Secrets::taint(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (!tainted_.insert(path).second) return {};
  Status status = write_taints();
  if (!status) tainted_.erase(path);
  return status;
}

void Secrets::forget_below_removed(const fs::path& folder) {
  const std::string prefix = folder.string() + "/";
  const std::lock_guard lock(mutex_);
  const auto forgotten = std::erase_if(tainted_, [&](const std::string& path) {
    const std::size_t end = path.find('/', prefix.size());
    struct stat info {};
    return path.starts_with(prefix) && end != std::string::npos &&
           ::lstat(path.substr(0, end).c_str(), &info) != 0 && errno == ENOENT;
  });
  // Remembering too many does no harm.
  if (forgotten == 0) return;
  if (const Status status = write_taints(); !status) log_warn("{}", status.error().message());
}

bool Secrets::is_tainted(const std::string& path) const {
  const std::lock_guard lock(mutex_);
  return tainted_.contains(path);
}

void Secrets::keep_only(const std::set<std::pair<std::string, std::uint64_t>>& needed,
                        Duration grace) {
  std::set<std::string> keep = {"tainted.json"};
  for (const auto& [name, version] : needed) keep.insert(fmt::format("{}.{}.json", name, version));
  const std::lock_guard lock(stored_mutex_);
  const auto old_enough = fs::file_time_type::clock::now() - grace;
  const auto stored = list_folder(folder_);
  if (!stored) return log_warn("{}", stored.error().message());
  for (const fs::path& path : *stored) {
    if (path.extension() != ".json" || keep.contains(path.filename().string())) continue;
    std::error_code ec;
    const auto fetched = fs::last_write_time(path, ec);
    if (!ec && fetched < old_enough) fs::remove(path, ec);
  }
}

void Secrets::tell_key() {
  if (told_ || !client_) return;
  const auto answer =
      client_->send_json("PUT", fmt::format("/v1/agents/{}/key", http::percent_encode(host_)),
                         Json::object({{"key", key_.public_key().to_text()}}));
  // An older controller keeps no secrets.
  if (answer || answer.error().code() == ErrorCode::not_found) {
    told_ = true;
    return;
  }
  if (complaint_ != answer.error().message())
    log_warn("the controller could not be told the key for secrets: {}", answer.error().message());
  complaint_ = answer.error().message();
}

void Secrets::on_connected() { told_ = false; }

void Secrets::cancel() {
  if (client_) client_->cancel();
}

}  // namespace consort::agent

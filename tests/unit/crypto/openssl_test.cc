// What Consort makes is what the openssl program of the same machine reads, and the other way
// round; an external authority made with it takes the place of the embedded one.
#include <gmock/gmock.h>

#include "base/files.h"
#include "base/process.h"
#include "crypto/authority.h"

namespace consort::crypto {
namespace {

using testing::HasSubstr;

class OpensslProgram : public testing::Test {
 protected:
  void SetUp() override {
    if (!run({"version"}, "").ok()) GTEST_SKIP() << "the openssl program is not installed";
  }

  ProcessOutcome run(std::vector<std::string> words, std::string input) const {
    ProcessSpec spec;
    spec.argv = std::move(words);
    spec.argv.insert(spec.argv.begin(), "openssl");
    spec.input = std::move(input);
    spec.folder = folder.path();
    return run_process(spec).value_or(ProcessOutcome{});
  }
  std::string must_run(std::vector<std::string> words, std::string input = "") const {
    const ProcessOutcome outcome = run(std::move(words), std::move(input));
    EXPECT_TRUE(outcome.ok()) << outcome.errors;
    return outcome.output;
  }
  std::string file(const std::string& name) const {
    return read_file(folder.path() / name).value();
  }
  void write(const std::string& name, std::string_view bytes) const {
    ASSERT_TRUE(write_file_atomic(folder.path() / name, bytes, 0600, Durability::cached));
  }

  TempFolder folder = TempFolder::create("consort-crypto").value();
  Instant now = SystemClock().now();
  PrivateKey key = PrivateKey::generate(KeyKind::ecdsa_p256);
};

TEST_F(OpensslProgram, VerifiesWhatTheAuthorityIssues) {
  const Authority authority =
      Authority::create("prod", PrivateKey::generate(KeyKind::ecdsa_p256), hours(9000), now)
          .value();
  const CertificateOrder order{key.public_key(),
                               {IdentityKind::controller, "prod", "c1"},
                               {{"consort.example.org"}, {"10.0.0.1", "2001:db8::1"}},
                               hours(24)};
  write("root.pem", authority.certificate().to_pem());
  write("leaf.pem", authority.issue(order, now)->to_pem());
  for (const std::string purpose : {"sslserver", "sslclient"})
    EXPECT_THAT(must_run({"verify", "-x509_strict", "-purpose", purpose, "-CAfile", "root.pem",
                          "leaf.pem"}),
                HasSubstr("leaf.pem: OK"));
  const std::string text = must_run({"x509", "-in", "leaf.pem", "-noout", "-text"});
  for (const std::string part :
       {"URI:consort://prod/controller/c1", "DNS:consort.example.org", "IP Address:10.0.0.1",
        "IP Address:2001:DB8:0:0:0:0:0:1", "CA:FALSE", "Digital Signature",
        "TLS Web Server Authentication, TLS Web Client Authentication", "ecdsa-with-SHA256",
        "Subject: O = Consort, OU = controller, CN = c1", "Authority Key Identifier"})
    EXPECT_THAT(text, HasSubstr(part));
  const std::string root = must_run({"x509", "-in", "root.pem", "-noout", "-text"});
  EXPECT_THAT(root, HasSubstr("CA:TRUE, pathlen:0"));
  EXPECT_THAT(root, HasSubstr("Certificate Sign, CRL Sign"));
}

TEST_F(OpensslProgram, ReadsKeysAndRequests) {
  const SecretText passphrase("correct horse");
  write("key.pem", key.to_encrypted_pem(passphrase).value());
  EXPECT_EQ(must_run({"pkey", "-in", "key.pem", "-passin", "pass:correct horse", "-pubout"}),
            key.public_key().to_pem());
  EXPECT_FALSE(run({"pkey", "-in", "key.pem", "-passin", "pass:wrong", "-pubout"}, "").ok());
  const std::string request =
      must_run({"req", "-verify", "-noout", "-text"},
               make_request(key, {IdentityKind::host, "prod", "web1"}).value());
  EXPECT_THAT(request, HasSubstr("URI:consort://prod/host/web1"));
}

TEST_F(OpensslProgram, MakesKeysThatAreRead) {
  must_run({"ecparam", "-name", "prime256v1", "-genkey", "-out", "ec.pem"});
  must_run({"ecparam", "-name", "prime256v1", "-genkey", "-param_enc", "explicit", "-out",
            "explicit.pem"});
  must_run({"ecparam", "-name", "secp384r1", "-genkey", "-out", "p384.pem"});
  must_run({"genpkey", "-algorithm", "ed25519", "-aes256", "-pass", "pass:secret", "-out",
            "ed25519.pem"});
  EXPECT_THAT(file("ec.pem"), HasSubstr("BEGIN EC PARAMETERS"));
  const auto ec = PrivateKey::from_pem(file("ec.pem"));
  ASSERT_TRUE(ec) << ec.error().message();
  EXPECT_EQ(ec->public_key().to_pem(), must_run({"pkey", "-in", "ec.pem", "-pubout"}));
  EXPECT_EQ(PrivateKey::from_pem(file("explicit.pem")).error().code(), ErrorCode::unsupported);
  EXPECT_EQ(PrivateKey::from_pem(file("p384.pem")).error().code(), ErrorCode::unsupported);
  const SecretText passphrase("secret");
  EXPECT_EQ(PrivateKey::from_pem(file("ed25519.pem"), &passphrase)->kind(), KeyKind::ed25519);
}

TEST_F(OpensslProgram, AnExternalAuthorityTakesThePlaceOfOurs) {
  // Given a company's RSA root, which certifies an intermediate for Consort,
  must_run({"req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "root.key", "-out",
            "root.pem", "-days", "30", "-subj", "/O=Example/CN=Root", "-addext",
            "basicConstraints=critical,CA:TRUE"});
  write("intermediate.key", key.to_pem().reveal());
  must_run({"req", "-new", "-key", "intermediate.key", "-subj", "/O=Example/CN=Consort", "-out",
            "intermediate.csr"});
  write("extensions", "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=keyCertSign\n");
  must_run({"x509", "-req", "-in", "intermediate.csr", "-CA", "root.pem", "-CAkey", "root.key",
            "-CAcreateserial", "-days", "20", "-extfile", "extensions", "-out",
            "intermediate.pem"});
  const auto authority =
      Authority::load("prod", file("intermediate.pem") + file("root.pem"), key.to_pem().reveal());
  ASSERT_TRUE(authority) << render_error(authority.error());
  // when it issues,
  const PrivateKey host = PrivateKey::generate(KeyKind::ecdsa_p256);
  const auto issued = authority->issue(
      {host.public_key(), {IdentityKind::host, "prod", "web1"}, {}, hours(24)}, now);
  ASSERT_TRUE(issued) << render_error(issued.error());
  // then the root's friends believe it with the intermediate, and the intermediate's without.
  const Certificate root = Certificate::from_pem(file("root.pem")).value();
  EXPECT_EQ(authority->trust_anchor(), root);
  EXPECT_EQ(root.public_key().error().code(), ErrorCode::unsupported);
  EXPECT_TRUE(verify(*issued, {root}, now, CertificateUse::client, {authority->certificate()}));
  EXPECT_FALSE(verify(*issued, {root}, now));
  EXPECT_TRUE(verify(*issued, {authority->certificate()}, now));
  const auto sent = certificates_from_pem(authority->chain_pem_for(*issued)).value();
  ASSERT_EQ(sent.size(), 2U);
  EXPECT_EQ(sent[0], *issued);
  EXPECT_EQ(sent[1], authority->certificate());
}

TEST_F(OpensslProgram, WhatAHostSignsIsBelievedByNobody) {
  const Authority authority =
      Authority::create("prod", PrivateKey::generate(KeyKind::ecdsa_p256), hours(9000), now)
          .value();
  const Certificate host =
      authority.issue({key.public_key(), {IdentityKind::host, "prod", "web1"}, {}, hours(24)}, now)
          .value();
  write("host.pem", host.to_pem());
  write("host.key", key.to_pem().reveal());
  write("request.pem", make_request(PrivateKey::generate(KeyKind::ecdsa_p256),
                                    {IdentityKind::operator_, "prod", "ann"})
                           .value());
  must_run({"x509", "-req", "-in", "request.pem", "-CA", "host.pem", "-CAkey", "host.key",
            "-CAcreateserial", "-days", "1", "-copy_extensions", "copy", "-out", "forged.pem"});
  const Certificate forged = Certificate::from_pem(file("forged.pem")).value();
  EXPECT_EQ(forged.identity()->name, "ann");
  const auto refused =
      verify(forged, {authority.trust_anchor()}, now + minutes(1), CertificateUse::client, {host});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::refused);
}

TEST_F(OpensslProgram, AnAuthorityThatMayNotIssueIsFoundOutAtOnce) {
  must_run({"req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", "root.key", "-out", "root.pem", "-days", "30", "-subj", "/CN=Mail",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext",
            "extendedKeyUsage=emailProtection"});
  const auto authority = Authority::load("prod", file("root.pem"), file("root.key"));
  ASSERT_TRUE(authority) << render_error(authority.error());
  const auto issued = authority->issue(
      {key.public_key(), {IdentityKind::host, "prod", "web1"}, {}, hours(24)}, now);
  ASSERT_FALSE(issued);
  EXPECT_EQ(issued.error().code(), ErrorCode::refused);
}

}  // namespace
}  // namespace consort::crypto

// SPDX-License-Identifier: Apache-2.0
// Against servers that are no kubelets: what goes wrong, and who is shown the token. tests/e2e has the real one.
#include "agent/kube/kubelet_source.h"

#include <gtest/gtest.h>

#include <chrono>
#include <fstream>

#include "tests/support/proxies.h"
#include "tests/unit/api/peer_support.h"
#include "tests/unit/kube/told.h"

namespace sonde::kube {
namespace {

using api_test::Identity;
using api_test::ok;
using api_test::TemporaryDirectory;
using api_test::TestCa;
using api_test::TestPeer;

const std::string kPods =
    R"({"kind":"PodList","metadata":{},"items":[{"metadata":{"uid":"u1","name":"a","namespace":"n"}}]})";
const std::string kOtherPods =
    R"({"kind":"PodList","metadata":{},"items":[{"metadata":{"uid":"u2","name":"b","namespace":"n"}}]})";

class Kubelet : public testing::Test {
 protected:
  Kubelet() : ca_(directory_), identity_(ca_.issue("kubelet", "IP:127.0.0.1")) { write_token("first"); }

  void write_token(const std::string& token) {
    std::ofstream(directory_.file("token~")) << token << "\n";
    std::filesystem::rename(directory_.file("token~"), directory_.file("token"));
  }
  KubeletOptions options(const TestPeer& peer) const {
    KubeletOptions options;
    options.url = "https://127.0.0.1:" + std::to_string(peer.port);
    options.ca_file = ca_.path;
    options.token_file = directory_.file("token");
    options.period_ns = options.shortest_gap_ns = options.longest_wait_ns = 10'000'000;
    return options;
  }
  // The first thing that it says; then it ends.
  std::string first(KubeletOptions options) {
    Told told;
    const KubeletSource source(std::move(options), told);
    return told.wait_for([](const Told& t) { return t.alls() + t.failures() > 0; }) ? told.last() : "silence";
  }
  std::string answer(const std::string& raw) {
    TestPeer peer({.tls = identity_}, [&](const std::string&) { return raw; });
    return first(options(peer));
  }

  TemporaryDirectory directory_;
  TestCa ca_;
  Identity identity_;
};

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST_F(Kubelet, TellsPodsAndReadsTheTokenAnew) {
  std::atomic<bool> other{false};
  TestPeer peer({.tls = identity_}, [&](const std::string&) { return ok(other ? kOtherPods : kPods); });
  Told told;
  const KubeletSource source(options(peer), told);
  ASSERT_TRUE(told.wait_for([](const Told& t) { return t.alls() == 1 && t.freshes() > 1; })) << told.last();
  EXPECT_EQ(told.pods().at(0).uid, "u1");
  EXPECT_TRUE(has(peer.requests().at(0), "GET /pods HTTP/1.1"));
  EXPECT_TRUE(has(peer.requests().at(0), "Authorization: Bearer first\r\n"));
  write_token("second");
  other = true;
  ASSERT_TRUE(told.wait_for([](const Told& t) { return t.alls() == 2; }));
  EXPECT_EQ(told.pods().at(0).uid, "u2");
  ASSERT_TRUE(told.wait_for([&](const Told&) { return has(peer.requests().back(), "Bearer second\r\n"); }));
  EXPECT_EQ(told.failures(), 0);
}

TEST_F(Kubelet, EachTroubleIsASentence) {
  EXPECT_TRUE(has(answer("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"), "does not accept the token (401)"));
  EXPECT_TRUE(has(answer("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"), "grant `get` of nodes/pods"));
  EXPECT_TRUE(has(answer("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"), "answered 500"));
  EXPECT_TRUE(has(answer(ok("garbage")), "makes no sense: the answer is not JSON"));
  EXPECT_TRUE(has(answer(ok(R"({"kind":"NodeList","items":[]})")), "not a list of pods"));
  EXPECT_TRUE(has(answer("garbage\r\n\r\n"), "does not speak HTTP"));
  EXPECT_TRUE(has(answer("HTTP/1.1 200 OK\r\nContent-Length: 99000000\r\n\r\n"), "too large"));
  EXPECT_TRUE(has(answer(""), "closed the connection"));
  KubeletOptions nobody;
  nobody.url = "https://127.0.0.1:" + std::to_string(api_test::unused_port());
  nobody.ca_file = ca_.path;
  EXPECT_TRUE(has(first(nobody), "nothing listens"));
}

TEST_F(Kubelet, IsAskedWithoutAProxy) {
  const test::Proxies proxies;
  EXPECT_EQ(answer(ok(kPods)), "1 pods");
}

TEST_F(Kubelet, ASilentOneIsGivenUp) {
  const std::string half = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
  TestPeer peer({.tls = identity_}, [&](const std::string&) { return half; });
  KubeletOptions impatient = options(peer);
  impatient.timeout_ns = 300'000'000;
  EXPECT_TRUE(has(first(impatient), "no answer in time"));
}

TEST_F(Kubelet, AfterAFailureAllIsToldAgain) {
  std::atomic<int> asked{0};
  TestPeer peer({.tls = identity_}, [&](const std::string&) {
    return ++asked == 2 ? "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n" : ok(kPods);
  });
  Told told;
  const KubeletSource source(options(peer), told);
  EXPECT_TRUE(told.wait_for([](const Told& t) { return t.alls() == 2 && t.failures() == 1; }));
}

TEST_F(Kubelet, TheTokenIsForWhomItCanVerify) {
  TestCa strange(directory_, "strange");
  const Identity own = strange.issue("own", "DNS:elsewhere", -100'000);  // unknown, expired, another name
  TestPeer peer({.tls = own}, [](const std::string&) { return ok(kPods); });
  KubeletOptions by_ca = options(peer);
  EXPECT_TRUE(has(first(by_ca), "its certificate"));
  by_ca.tls = KubeletTls::Ca;
  EXPECT_TRUE(has(first(by_ca), "its certificate"));
  KubeletOptions wrong_pin = options(peer);
  wrong_pin.tls = KubeletTls::Pin;
  wrong_pin.pin_file = identity_.certificate;
  EXPECT_TRUE(has(first(wrong_pin), "is not the one in"));
  EXPECT_TRUE(peer.requests().empty()) << "nothing was said to it, so no token either";

  for (const KubeletTls mode : {KubeletTls::Pin, KubeletTls::Auto}) {
    KubeletOptions pinned = options(peer);
    pinned.tls = mode;
    pinned.pin_file = own.certificate;
    EXPECT_EQ(first(pinned), "1 pods");
    EXPECT_TRUE(has(peer.requests().back(), "Bearer first"));
  }
  KubeletOptions insecure = options(peer);
  insecure.tls = KubeletTls::Insecure;
  EXPECT_EQ(first(insecure), "1 pods");
  EXPECT_FALSE(has(peer.requests().back(), "Authorization"));
  insecure.send_token_unverified = true;
  EXPECT_EQ(first(insecure), "1 pods");
  EXPECT_TRUE(has(peer.requests().back(), "Bearer first"));
}

TEST_F(Kubelet, AnExpiredCertificateIsNamed) {
  TestPeer peer({.tls = ca_.issue("old", "IP:127.0.0.1", -100'000)}, [](const std::string&) { return ok(kPods); });
  EXPECT_TRUE(has(first(options(peer)), "has expired"));
  EXPECT_TRUE(peer.requests().empty());
}

TEST_F(Kubelet, WithNothingToVerifyByItSaysWhatToGive) {
  KubeletOptions none;
  none.url = "https://127.0.0.1:1";
  EXPECT_TRUE(has(first(none), "set kubelet.caFile"));
}

TEST_F(Kubelet, InAHurryItAsksAtOnce) {
  TestPeer peer({.tls = identity_}, [](const std::string&) { return ok(kPods); });
  KubeletOptions calm = options(peer);
  calm.period_ns = 3'600'000'000'000;
  Told told;
  KubeletSource source(calm, told);
  ASSERT_TRUE(told.wait_for([](const Told& t) { return t.alls() == 1; }));
  // It may still be in the pause that follows each answer, in which it is looked for anyway: then hurry once more.
  EXPECT_TRUE(told.wait_for([&](const Told& t) {
    source.hurry();
    return t.freshes() >= 1;
  }));
}

TEST_F(Kubelet, WhileSomethingIsLookedForItAsksAgain) {
  TestPeer peer({.tls = identity_}, [](const std::string&) { return ok(kPods); });
  KubeletOptions looking = options(peer);
  looking.period_ns = 3'600'000'000'000;
  looking.looks_for_some = [] { return true; };
  Told told;
  const KubeletSource source(looking, told);
  EXPECT_TRUE(told.wait_for([](const Told& t) { return t.freshes() >= 3; }));
}

TEST(KubeletUrl, Addresses) {
  EXPECT_EQ(kubelet_url("10.0.0.7"), "https://10.0.0.7:10250");
  EXPECT_EQ(kubelet_url("node-1:10255"), "https://node-1:10255");
  EXPECT_EQ(kubelet_url("fd00::7"), "https://[fd00::7]:10250");
  EXPECT_EQ(kubelet_url("[fd00::7]:99"), "https://[fd00::7]:99");
  EXPECT_EQ(kubelet_url("[fd00::7]"), "https://[fd00::7]:10250");
  for (const char* wrong :
       {"", "[fd00::7", "[fd00::7]x", "node-1:", "node-1:0", "node-1:x", ":1", "https://node-1", "a/b"}) {
    EXPECT_EQ(kubelet_url(wrong), "") << wrong;
  }
}

}  // namespace
}  // namespace sonde::kube

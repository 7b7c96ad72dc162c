// SPDX-License-Identifier: Apache-2.0
// What a new user gets wrong: one sentence on standard error that says what to do, exit code 2, nothing on standard output.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "agent/cli/cli.h"

namespace sonde::cli {
namespace {

namespace fs = std::filesystem;

struct Said {
  int code = 0;
  std::string out, err;
};

Said sonde(std::vector<std::string> words) {
  words.insert(words.begin(), "sonde");
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  Said said;
  said.code = run(static_cast<int>(words.size()), argv.data());
  std::fflush(stdout);
  said.out = testing::internal::GetCapturedStdout();
  said.err = testing::internal::GetCapturedStderr();
  return said;
}

class WrongInput : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = fs::temp_directory_path() / "sonde_wrong_XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    std::vector<std::string> names;  // what whoever runs the tests has set is no part of them
    for (char** entry = environ; *entry; ++entry) {
      const std::string_view text(*entry);
      if (text.starts_with("SONDE_")) names.emplace_back(text.substr(0, text.find('=')));
    }
    for (const std::string& name : names) ::unsetenv(name.c_str());
  }
  void TearDown() override {
    fs::remove_all(directory_);
    ::unsetenv("SONDE_INTERVAL");
    ::unsetenv("SONDE_INTERVALL");
    ::unsetenv("EXPORT_MODE");
    ::unsetenv("OTEL_EXPORTER_OTLP_PROTOCOL");
  }

  std::string file(const std::string& text, const std::string& name = "file.yaml") {
    const std::string path = directory_ + "/" + name;
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }

  static void refused(const std::vector<std::string>& words, const std::string& sentence) {
    std::string line;
    for (const auto& word : words) line += word.substr(0, 60) + " ";
    const Said said = sonde(words);
    EXPECT_EQ(said.code, kUsage) << line;
    EXPECT_EQ(said.out, "") << line;
    EXPECT_NE(said.err.find(sentence), std::string::npos) << line << "\n" << said.err;
    EXPECT_EQ(std::ranges::count(said.err, '\n'), 1) << line << "\n" << said.err;
    EXPECT_LT(said.err.size(), 700U) << line << "\n" << said.err;
  }
  // A configuration file with this text.
  void refused_file(const std::string& text, const std::string& sentence) {
    refused({"agent", "--check-config", "--config", file(text)}, sentence);
  }
  // A policy file whose spec this is.
  void refused_spec(const std::string& spec, const std::string& sentence) {
    refused({"policy", "check",
             file("apiVersion: sonde.dev/v1alpha1\nkind: ClusterMonitorPolicy\nmetadata: {name: p}\n"
                  "spec: {" +
                  spec + "}\n")},
            sentence);
  }

  std::string directory_;
};

TEST_F(WrongInput, CommandsAndFlags) {
  refused({"agnet"}, "there is no command \"agnet\"; did you mean agent?");
  refused({"agent", "--intervall", "5s"}, "`agent` has no flag --intervall; did you mean --interval?");
  refused({"agent", "now"}, "`agent` does not take \"now\"");
  refused({"policy"}, "`policy` needs one of: check");
  refused({"policy", "chekc"}, "`policy` has no command \"chekc\"; did you mean check?");
  refused({"--wrong"}, "`sonde` has no flag --wrong");
  refused({"policy", "check"}, "`policy check` needs FILE");
  refused({"probes", "io"}, "`probes` does not take \"io\"");
  refused({"agent", "--interval"}, "--interval needs a value (see `sonde agent --help`)");
  refused({"status", "-o"}, "--output needs a value");
  refused({"agent", "--config"}, "--config needs a value");
  refused({"status", "-o", "xml"}, "--output: must be table or json, not 'xml'");
  refused({"top", "--once", "--sort", "size"}, "--sort: there is no column 'size'; there are name, read, ");
  refused({"top", "--once", "--sort", "raed"}, "--sort: there is no column 'raed'; did you mean read?");
  refused({"top", "--probe", "netwrok"}, "--probe: there is no probe 'netwrok'; did you mean network?");
  refused({"top", "--probe", "network", "--sort", "tcp.io.transmitt"},
          "--sort: there is no column 'tcp.io.transmitt'; did you mean tcp.io.transmit?");
  refused({"doctor", "--plan", "--cpus", "many"}, "--cpus: must be a whole number from 1 to 8192, not 'many'");
  refused({"doctor", "--containers", "5"}, "--containers requires --plan");
  refused({"agent", "--config", "", "--check-config"}, "--config: the value is empty; omit the flag");
  refused({"agent", "--target-comm", "", "--check-config"}, "--target-comm: the value is empty; omit the flag");
  refused({"agent", "--check-config", "--policies="}, "--policies needs a value");
}

TEST_F(WrongInput, Values) {
  const auto agent = [](const std::string& flag, const std::string& value, const std::string& sentence) {
    refused({"agent", "--check-config", "--" + flag, value}, sentence);
  };
  agent("interval", "5", "--interval: '5' is not a duration: write for example 10s, 1m30s or 250ms");
  agent("interval", "5parsecs", "--interval: '5parsecs' is not a duration");
  agent("interval", "-5s", "--interval: '-5s' is not a duration");
  agent("interval", "0s", "--interval: must be from 10ms to 1h, not '0s'");
  agent("interval", "2h", "--interval: must be from 10ms to 1h, not '2h'");
  agent("duration", "soon", "--duration: 'soon' is not a duration");
  agent("export", "carrier-pigeon", "--export: must be otlp, prometheus, file or none, not 'carrier-pigeon'");
  agent("export", ",", "--export: must be otlp, prometheus, file or none");
  agent("otlp-endpoint", "foo:bar", "\"foo:bar\" has no port between 1 and 65535; write for example http://");
  agent("otlp-endpoint", "http://host:99999", "has no port between 1 and 65535");
  agent("otlp-queue-memory", "12 parsecs", "--otlp-queue-memory: ");
  agent("log-level", "loud", "--log-level: must be trace, debug, info, warn, error or off, not 'loud'");
  agent("log-format", "xml", "--log-format: must be text or json, not 'xml'");
  agent("target-pid", "abc", "--target-pid: 'abc' is not a whole number from 0 to 4194304");
  agent("target-pid", "99999999", "--target-pid: '99999999' is not a whole number");
  agent("target-pid", "0", "--target-pid: 0 is not a process");
  agent("probes", "oi", "--probes: ");
  agent("preset", "Everything", "--preset: must be None, Minimal, Standard or Detailed");
  agent("policies", "/nonexistent", "cannot read the directory /nonexistent: No such file or directory");
  agent("policies", "/etc/passwd", "/etc/passwd is not a directory");
  refused({"agent", "--check-config", "--export", "file", "--file", "/nonexistent/out.jsonl"},
          "export.file.path (--file): cannot read the directory /nonexistent: No such file or directory");
  refused({"agent", "--check-config", "--export", "file", "--file", "/nonexistent/out/"},
          "export.file.path (--file): cannot read the directory /nonexistent: No such file or directory");
  agent("otlp-queue-directory", "/nonexistent/queue",
        "export.otlp.queue.directory (--otlp-queue-directory): cannot read the ");
  refused({"agent", "--target-comm", "nobodysname"}, "no process is named 'nobodysname'");
  agent("proc-root", directory_, "procRoot (--proc-root): " + directory_ + " is not a /proc file system");
  agent("otlp-ca", "/etc/hostname", "export.otlp.tls.ca (--otlp-ca): /etc/hostname contains no PEM data");
  agent("http-local", "0.0.0.0:18081",
        "listen.httpLocal (--http-local) exposes all tenants and only opens on loopback, not on 0.0.0.0:18081: write "
        "127.0.0.1");
  agent("http-local", "[::]:18081", "only opens on loopback, not on [::]:18081");
  agent("grpc", "node-1:19090", "listen.grpc (--grpc) exposes all tenants and only opens on loopback");
  refused({"agent", "--check-config", "--target-pid", "1", "--target-comm", "init"}, "mutually exclusive");
  refused({"top", "--every", "never", "--once"}, "--every must be at least 200ms, for example 2s; \"never\" is not");
}

TEST_F(WrongInput, Addresses) {
  for (const char* address :
       {"1.2.3.4:99999", "1.2.3.4", "host:", "host:0", "http://127.0.0.1:18081", "::1:18081", ""}) {
    refused({"status", "--address", address}, "is not host:port with a port from 1 to 65535; write for example ");
  }
  refused({"verify", "--address", "x:-1"}, "is not host:port");
  refused({"pods", "--address", "a b:1"}, "is not host:port");
}

TEST_F(WrongInput, Pods) {
  refused({"explain", "pod", "web-0"},
          "'web-0' has no namespace: write NAMESPACE/NAME, for example default/web-0, or the pod's UID");
  for (const char* word : {"/web-0", "shop/", "shop/web/0", "/"}) {
    refused({"explain", "pod", word}, "is not NAMESPACE/NAME; write for example default/web-0");
  }
  refused({"explain", "pod", "8dbc5577-d0e2-4706-8787-57d52c03ddf"}, "has no namespace");
  refused({"explain", "pod", "shop/web 0"}, "is not a name; write for example shop/web-0");
  refused({"explain", "pod"}, "`explain pod` needs pod");
  for (const char* word : {"shop/web-0", "8dbc5577-d0e2-4706-8787-57d52c03ddf2", "0123456789abcdef0123456789abcdef"}) {
    const Said said = sonde({"explain", "pod", word, "--address", "127.0.0.1:1"});  // nobody listens there
    EXPECT_EQ(said.code, kFailed) << word << said.err;
  }
}

TEST_F(WrongInput, Environment) {
  ::setenv("SONDE_INTERVAL", "often", 1);
  refused({"agent", "--check-config"}, "SONDE_INTERVAL: 'often' is not a duration");
  ::unsetenv("SONDE_INTERVAL");
  ::setenv("SONDE_INTERVALL", "5s", 1);
  const Said said = sonde({"agent", "--check-config"});  // Kubernetes makes such variables too: no error
  EXPECT_EQ(said.err, "sonde: warning: the variable SONDE_INTERVALL has no effect, did you mean SONDE_INTERVAL\n");
  ::unsetenv("SONDE_INTERVALL");
  ::setenv("EXPORT_MODE", "telegraph", 1);
  refused({"agent", "--check-config"}, "EXPORT_MODE");
  ::unsetenv("EXPORT_MODE");
  ::setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "smoke", 1);
  refused({"agent", "--check-config"}, "OTEL_EXPORTER_OTLP_PROTOCOL");
}

TEST_F(WrongInput, Files) {
  refused({"agent", "--check-config", "--config", "/nonexistent"},
          "cannot open /nonexistent: No such file or directory");
  refused({"agent", "--check-config", "--config", "/tmp"}, "cannot read /tmp: Is a directory");
  refused_file("\xff\xfe", ":1:1: not UTF-8 text");
  refused_file("interval: 5s\nnodeName: \xe9t\xe9\n", ":2:1: not UTF-8 text");
  refused_file(std::string("\xff\xfei\0n\0t\0", 8), ":1:1: not a text file");
  refused_file(std::string("\x7f"
                           "ELF\x02\x01\x01\0\0\0",
                           10),
               ":1:1: not a text file");
  refused_file(std::string((1 << 20) + 1, '#'), "is larger than 1048576 bytes");
  refused_file("- interval", ":1:1: the configuration must be a map of keys, not a list");
  refused_file("5s", ":1:1: the configuration must be a map of keys, not '5s'");
  refused_file("intervall: 5s", ":1:1: the configuration has no key 'intervall', did you mean 'interval'");
  refused_file("interval: [5s]", ":1:11: interval must be one value, not a list");
  refused_file("interval: 5 parsecs", ":1:11: interval: '5 parsecs' is not a duration");
  refused_file("export: {otlp: collector}", ":1:16: export.otlp must be a map with ");
  refused_file("overhead: {milliCpu: many}", ":1:22: overhead.milliCpu: 'many' is not a whole number");
  refused_file("defaultPolicy: {enabled: yes}", "defaultPolicy.enabled: must be true or false, not 'yes'");
  refused_file("interval: 5s\ninterval: 6s", ":2:1: 'interval' is given twice");
  refused_file("log:\n\tlevel: info", ":2:7: not valid YAML: ");
  refused_file("log: {level: info", "not valid YAML: ");
  refused_file("a: &x [*x]", "anchors are not allowed");
  refused_file("interval: 5s\n---\ninterval: 6s", ":3:1: a configuration file must contain a single document");
}

TEST_F(WrongInput, Policies) {
  refused({"policy", "check", "/nonexistent.yaml"}, "cannot open /nonexistent.yaml: No such file or directory");
  refused({"policy", "check", directory_}, "this directory contains no .yaml or .yml files");
  refused({"policy", "check", file("")}, ":1:1: there is no policy in this file");
  refused({"policy", "check", file("\xff\xfe")}, ":1:1: not UTF-8 text");
  refused({"policy", "check", file("- a")}, ":1:1: a policy must be a map of fields, not a list");
  refused({"policy", "check", file("apiVersion: v1\nkind: ClusterMonitorPolicy\nmetadata: {name: x}\nspec: {}")},
          ":1:13: apiVersion must be sonde.dev/v1alpha1, not 'v1'");
  refused_spec("presett: Standard", "spec has no field 'presett', did you mean 'preset'");
  refused_spec("preset: Loud", "'Loud'");
  refused_spec("priority: high", "priority");
  refused_spec("priority: 1001", "from 0 to 1000");
  refused_spec("probes: [{name: oi}]", "'oi'");
  refused_spec("probes: io", "probes");
  refused_spec("probes: [{name: io, level: Extreme}]", "'Extreme'");
  refused_spec("collection: {periodSeconds: 0}", "periodSeconds");
  refused_spec("collection: {periodSeconds: 5s}", "periodSeconds");
  refused_spec("collection: {cleanup: {strategy: Never}}", "'Never'");
  refused_spec("podSelector: {matchExpressions: [{key: a, operator: Like}]}", "'Like'");
}

TEST_F(WrongInput, WhatIsRightIsTaken) {
  const auto taken = [](std::vector<std::string> words) {
    words.insert(words.begin(), {"agent", "--check-config"});
    const Said said = sonde(words);
    EXPECT_EQ(said.code, kOk) << said.err;
  };
  for (const char* address : {":1", "127.0.0.1:1", "[::1]:1", "localhost:1", "off"}) {
    taken({"--http-local", address, "--grpc", address});
  }
  taken({"--export", "file", "--file", directory_ + "/made/"});
  taken({"--export", "file", "--file", directory_});
  taken({"--export", "file", "--file", directory_ + "/new.jsonl"});
  taken({"--otlp-ca", file("text before\n-----BEGIN CERTIFICATE-----\n", "ca.pem")});
}

TEST_F(WrongInput, APlanThatDoesNotFitIsNone) {
  const Said small = sonde({"doctor", "--plan", "-o", "json"});
  EXPECT_EQ(small.code, kOk) << small.err;
  EXPECT_NE(small.out.find("\"fits\": true"), std::string::npos);
  const Said large = sonde({"doctor", "--plan", "--containers", "100000"});
  EXPECT_EQ(large.code, kFailed);
  EXPECT_NE(large.out.find("it does not fit"), std::string::npos) << large.out;
}

TEST_F(WrongInput, AnEmptyConfigurationIsNone) {
  EXPECT_EQ(sonde({"agent", "--check-config", "--config", file("")}).code, kOk);
  EXPECT_EQ(sonde({"agent", "--check-config", "--config", file("\xef\xbb\xbfinterval: 5s\n")}).code, kOk)
      << "a UTF-8 mark";
}

}  // namespace
}  // namespace sonde::cli

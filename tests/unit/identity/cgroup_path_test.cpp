// SPDX-License-Identifier: Apache-2.0
#include "agent/identity/cgroup_path.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace sonde {
namespace {

const std::string kA = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const std::string kB = "feedfacefeedfacefeedfacefeedfacefeedfacefeedfacefeedfacefeedface";
const std::string kUid = "8dbc5577-d0e2-4706-8787-57d52c03ddf2";
const std::string kUid_ = "8dbc5577_d0e2_4706_8787_57d52c03ddf2";
const std::string kStatic = "a9c5f7e3b1d24680a9c5f7e3b1d24680";

struct Case {
  std::string path;
  std::string runtime, container, pod, qos;
  std::string below;  // what of the path is deeper than the container's own directory
  bool helper = false;
};

// Every form of path that an agent on a node meets. A `below` of "-": no container.
std::vector<Case> cases() {
  const std::string slice = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + kUid_ + ".slice";
  const std::string best = "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + kUid_ + ".slice";
  const std::string guaranteed = "/kubepods.slice/kubepods-pod" + kUid_ + ".slice";
  const std::string kind =
      "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/"
      "kubelet-kubepods-burstable-pod" +
      kUid_ + ".slice/cri-containerd-" + kA + ".scope";
  return {
      // systemd driver
      {slice + "/cri-containerd-" + kA + ".scope", "containerd", kA, kUid, "burstable", ""},
      {best + "/cri-containerd-" + kA + ".scope", "containerd", kA, kUid, "besteffort", ""},
      {guaranteed + "/cri-containerd-" + kA + ".scope", "containerd", kA, kUid, "guaranteed", ""},
      {slice + "/crio-" + kA + ".scope", "cri-o", kA, kUid, "burstable", ""},
      {slice + "/crio-" + kA + ".scope/container", "cri-o", kA, kUid, "burstable", "/container"},
      {guaranteed + "/crio-" + kA + ".scope", "cri-o", kA, kUid, "guaranteed", ""},
      {slice + "/crio-conmon-" + kA + ".scope", "", "", kUid, "burstable", "-", true},
      {slice + "/docker-" + kA + ".scope", "docker", kA, kUid, "burstable", ""},
      {best + "/docker-" + kA + ".scope", "docker", kA, kUid, "besteffort", ""},
      {slice, "", "", kUid, "burstable", "-"},
      {guaranteed, "", "", kUid, "guaranteed", "-"},
      // static pods
      {"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + kStatic + ".slice/cri-containerd-" + kA +
           ".scope",
       "containerd", kA, kStatic, "burstable", ""},
      {"/kubepods/burstable/pod" + kStatic + "/" + kA, "", kA, kStatic, "burstable", ""},
      {"/kubepods.slice/kubepods-pod" + kStatic + ".slice/crio-" + kA + ".scope", "cri-o", kA, kStatic, "guaranteed",
       ""},
      // cgroupfs driver
      {"/kubepods/burstable/pod" + kUid + "/" + kA, "", kA, kUid, "burstable", ""},
      {"/kubepods/besteffort/pod" + kUid + "/" + kA, "", kA, kUid, "besteffort", ""},
      {"/kubepods/pod" + kUid + "/" + kA, "", kA, kUid, "guaranteed", ""},
      {"/kubepods/burstable/pod" + kUid + "/crio-" + kA, "cri-o", kA, kUid, "burstable", ""},
      {"/kubepods/pod" + kUid + "/crio-conmon-" + kA, "", "", kUid, "guaranteed", "-", true},
      {"/kubepods/pod" + kUid, "", "", kUid, "guaranteed", "-"},
      // kubelet with systemd, containerd with cgroupfs
      {"/system.slice/containerd.service/kubepods-besteffort-pod" + kUid_ + ".slice:cri-containerd:" + kA, "containerd",
       kA, kUid, "besteffort", ""},
      {"/system.slice/containerd.service/kubepods-pod" + kUid_ + ".slice:cri-containerd:" + kA, "containerd", kA, kUid,
       "guaranteed", ""},
      {"/kubepods-burstable-pod" + kStatic + ".slice:cri-containerd:" + kA + "/init", "containerd", kA, kStatic,
       "burstable", "/init"},
      // kind, seen from its node and from the machine below it; the node itself
      {kind, "containerd", kA, kUid, "burstable", ""},
      {"/system.slice/docker-" + kB + ".scope" + kind, "containerd", kA, kUid, "burstable", ""},
      {"/docker/" + kB + kind, "containerd", kA, kUid, "burstable", ""},
      {"/docker/" + kB + "/kubelet/kubepods/besteffort/pod" + kUid + "/" + kA, "", kA, kUid, "besteffort", ""},
      {"/system.slice/docker-" + kB + ".scope/kubelet.slice/kubelet.service", "docker", kB, "", "",
       "/kubelet.slice/kubelet.service"},
      {"/system.slice/docker-" + kB + ".scope/kubelet.slice/kubelet-kubepods.slice", "docker", kB, "", "",
       "/kubelet.slice/kubelet-kubepods.slice"},
      // containers in containers belong to the outer one
      {slice + "/cri-containerd-" + kA + ".scope/docker/" + kB, "containerd", kA, kUid, "burstable", "/docker/" + kB},
      {slice + "/cri-containerd-" + kA + ".scope/system.slice/docker-" + kB + ".scope", "containerd", kA, kUid,
       "burstable", "/system.slice/docker-" + kB + ".scope"},
      {"/docker/" + kA + "/docker/" + kB, "docker", kA, "", "", "/docker/" + kB},
      {slice + "/cri-containerd-" + kA + ".scope/init.scope", "containerd", kA, kUid, "burstable", "/init.scope"},
      {slice + "/cri-containerd-" + kA + ".scope/system.slice/ssh.service", "containerd", kA, kUid, "burstable",
       "/system.slice/ssh.service"},
      {slice + "/crio-conmon-" + kA + ".scope/deeper", "", "", kUid, "burstable", "-", true},
      // Docker, nerdctl
      {"/system.slice/docker-" + kA + ".scope", "docker", kA, "", "", ""},
      {"/docker/" + kA, "docker", kA, "", "", ""},
      {"/system.slice/nerdctl-" + kA + ".scope", "containerd", kA, "", "", ""},
      {"/default/" + kA, "", kA, "", "", ""},
      {"/ecs/task-1/" + kA, "", kA, "", "", ""},
      // Podman
      {"/machine.slice/libpod-" + kA + ".scope", "podman", kA, "", "", ""},
      {"/machine.slice/libpod-" + kA + ".scope/container", "podman", kA, "", "", "/container"},
      {"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + kA + ".scope", "podman", kA, "", "", ""},
      {"/machine.slice/libpod-conmon-" + kA + ".scope", "", "", "", "", "-", true},
      {"/libpod_parent/libpod-" + kA, "podman", kA, "", "", ""},
      {"/machine.slice/machine-libpod_pod_" + kB + ".slice", "", "", "", "", "-"},
      {"/machine.slice/machine-libpod_pod_" + kB + ".slice/libpod-" + kA + ".scope", "podman", kA, "", "", ""},
      {"/libpod_parent/" + kB + "/libpod-" + kA, "podman", kA, "", "", ""},
      {"/system.slice/web.service/libpod-payload-" + kA, "podman", kA, "", "", ""},
      // as themselves
      {"/", "", "", "", "", "-"},
      {"", "", "", "", "", "-"},
      {"/lxc/web", "", "", "", "", "-"},
      {"/lxc.payload.web/system.slice/cron.service", "", "", "", "", "-"},
      {"/podruntime/kubelet", "", "", "", "", "-"},
      {"/azure.slice/walinuxagent.service", "", "", "", "", "-"},
      {"/system.slice/sshd.service", "", "", "", "", "-"},
      {"/user.slice/user-0.slice/session-1.scope", "", "", "", "", "-"},
      {"/kubepods.slice/kubepods-burstable.slice", "", "", "", "", "-"},
      // near misses: 63 digits, 65 digits, capital letters, a UID too short, mixed separators, text behind
      {"/docker/" + kA.substr(1), "", "", "", "", "-"},
      {"/docker/0" + kA, "", "", "", "", "-"},
      {"/docker/" + std::string(64, 'A'), "", "", "", "", "-"},
      {"/docker/" + kA + ".slice", "", "", "", "", "-"},
      {"/kubepods/pod" + kUid.substr(1) + "/x", "", "", "", "", "-"},
      {"/kubepods/pod8dbc5577-d0e2_4706-8787_57d52c03ddf2", "", "", "", "", "-"},
      {"/kubepods/pod" + kStatic + "0", "", "", "", "", "-"},
      {"/kubepods/mypod" + kUid, "", "", "", "", "-"},
      // untidy paths
      {"kubepods//burstable/pod" + kUid + "/" + kA + "/", "", kA, kUid, "burstable", "/"},
      {"/../../kubepods/burstable/pod" + kUid + "/./" + kA, "", kA, kUid, "burstable", ""},
  };
}

TEST(CgroupPath, EveryForm) {
  ASSERT_GE(cases().size(), 40U);
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.path);
    const CgroupPath got = parse_cgroup_path(c.path);
    EXPECT_EQ(got.runtime, c.runtime);
    EXPECT_EQ(got.container_id, c.container);
    EXPECT_EQ(got.pod_uid, c.pod);
    EXPECT_EQ(got.qos, c.qos);
    EXPECT_EQ(got.helper, c.helper);
    if (c.below == "-") {
      EXPECT_EQ(got.container_path, "");
      EXPECT_FALSE(got.inside);
    } else {
      EXPECT_EQ(got.container_path + c.below, c.path);
      EXPECT_EQ(got.inside, c.below.size() > 1);
    }
  }
}

// Each class of service, driver, runtime and form of UID with each other, in a machine and in kind's node.
TEST(CgroupPath, EveryClassDriverRuntimeAndUid) {
  struct Runtime {
    std::string name, scope, plain;  // plain: what stands before the ID where there are no scopes
  };
  const Runtime runtimes[] = {
      {"containerd", "cri-containerd-", ""}, {"cri-o", "crio-", "crio-"}, {"docker", "docker-", ""}};
  const auto expect = [](const std::string& path, const std::string& runtime, const std::string& uid,
                         const std::string& qos) {
    for (const std::string& above : {std::string(), "/system.slice/docker-" + kB + ".scope"}) {
      SCOPED_TRACE(above + path);
      const CgroupPath got = parse_cgroup_path(above + path);
      EXPECT_EQ(got.runtime, runtime);
      EXPECT_EQ(got.container_id, kA);
      EXPECT_EQ(got.pod_uid, uid);
      EXPECT_EQ(got.qos, qos);
      EXPECT_EQ(got.container_path, above + path);
    }
  };
  for (const std::string& qos : {std::string("guaranteed"), std::string("burstable"), std::string("besteffort")}) {
    const bool named = qos != "guaranteed";  // that one has no directory of its own
    const std::string outer = named ? "/kubepods-" + qos + ".slice" : "", word = named ? qos + "-" : "";
    for (const auto& [uid, in_slice] : {std::pair(kUid, kUid_), std::pair(kStatic, kStatic)}) {
      const std::string slice = "kubepods-" + word + "pod" + in_slice + ".slice";
      for (const Runtime& runtime : runtimes) {
        const std::string systemd = "/kubepods.slice" + outer + "/" + slice + "/" + runtime.scope + kA + ".scope";
        expect(systemd, runtime.name, uid, qos);
        const std::string pod = (named ? "/kubepods/" + qos : "/kubepods") + "/pod" + uid;
        const std::string cgroupfs = pod + "/" + runtime.plain + kA;
        expect(cgroupfs, runtime.plain.empty() ? "" : runtime.name, uid, qos);
      }
      expect("/" + slice + ":cri-containerd:" + kA, "containerd", uid,
             qos);  // containerd's driver is not the kubelet's
    }
  }
}

TEST(CgroupPath, PodBelowPodIsTheInnerOne) {
  const std::string outer = "/kubepods/pod11111111-2222-3333-4444-555555555555/" + kB;
  const CgroupPath got = parse_cgroup_path(outer + "/docker/x/kubepods/burstable/pod" + kUid + "/" + kA);
  EXPECT_EQ(got.container_id, kA);
  EXPECT_EQ(got.pod_uid, kUid);
  EXPECT_EQ(got.qos, "burstable");
}

TEST(CgroupPath, CutAnywhereIsNoHarm) {
  for (const Case& c : cases()) {
    for (std::size_t n = 0; n < c.path.size(); ++n) {
      const CgroupPath got = parse_cgroup_path(std::string_view(c.path).substr(0, n));
      EXPECT_TRUE(c.path.starts_with(got.container_path));
      EXPECT_TRUE(got.container_id.empty() || got.container_id.size() == 64);
    }
  }
}

TEST(CgroupPath, NamesOfDirectories) {
  const auto says = [](const std::string& name, const std::string& parent = "x") {
    const DirectoryName got = read_directory_name(name, parent);
    return std::string(got.container ? "c" : "") + (got.pod ? "p" : "") + (got.helper ? "h" : "");
  };
  EXPECT_EQ(says(kA), "c");
  EXPECT_EQ(says("cri-containerd-" + kA + ".scope"), "c");
  EXPECT_EQ(says("libpod-payload-" + kA), "c");
  EXPECT_EQ(says("kubepods-pod" + kUid_ + ".slice:cri-containerd:" + kA), "cp");
  EXPECT_EQ(says("kubepods-pod" + kUid_ + ".slice"), "p");
  EXPECT_EQ(says("pod" + kUid), "p");
  EXPECT_EQ(says("pod" + kStatic), "p");
  EXPECT_EQ(says("crio-conmon-" + kA + ".scope"), "h");
  EXPECT_EQ(says("system.slice:docker:" + kA), "c");
  for (const std::string& name :
       {"machine-libpod_pod_" + kA + ".slice", "pod_" + kA, "0" + kA, kA.substr(1), kA + ".slice", kA + ".service",
        std::string("init.scope"), std::string(), std::string(".scope"), "mypod" + kUid, "pod" + kUid + "0",
        "pod" + kUid + ".slice.d", "pod" + kUid.substr(1), kUid, kStatic, std::string("pod"), std::string(255, 'x'),
        std::string(255, 'a'), std::string(256, 'a')})
    EXPECT_EQ(says(name), "") << name;
  EXPECT_EQ(says(std::string(191, 'x') + kA), "c") << "255 bytes";
  EXPECT_EQ(says(std::string(215, '-') + "-pod" + kUid), "p") << "255 bytes";
  EXPECT_EQ(says(kA, "libpod_parent"), "") << "a pod of Podman's";
  EXPECT_EQ(says("libpod-" + kA, "libpod_parent"), "c");
}

}  // namespace
}  // namespace sonde

// A driver of devices that do not exist, for tests of dynamic resource allocation: it publishes them by ResourceSlices
// with the properties that drivers of GPUs publish, and prepares the claims of pods for the kubelet.
//
// The containerd of Debian 12 does not support CDI. So, in place of a CDI device, each emptyDir of the pod gets a file
// "devices" with the names of its devices.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	resourceapi "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/dynamic-resource-allocation/kubeletplugin"
	"k8s.io/dynamic-resource-allocation/resourceslice"
)

type driver struct {
	name, node, kubelet string
}

func (d driver) PrepareResourceClaims(_ context.Context, claims []*resourceapi.ResourceClaim) (map[types.UID]kubeletplugin.PrepareResult, error) {
	results := map[types.UID]kubeletplugin.PrepareResult{}
	for _, claim := range claims {
		var result kubeletplugin.PrepareResult
		var names []string
		for _, device := range claim.Status.Allocation.Devices.Results {
			if device.Driver != d.name {
				continue
			}
			names = append(names, device.Device)
			result.Devices = append(result.Devices, kubeletplugin.Device{
				Requests: []string{device.Request}, PoolName: device.Pool, DeviceName: device.Device,
			})
		}
		for _, consumer := range claim.Status.ReservedFor {
			if consumer.Resource == "pods" && result.Err == nil {
				result.Err = d.show(consumer.UID, names)
			}
		}
		results[claim.UID] = result
		fmt.Printf("prepared claim %s/%s: %s\n", claim.Namespace, claim.Name, strings.Join(names, " "))
	}
	return results, nil
}

func (d driver) show(pod types.UID, names []string) error {
	directories, err := filepath.Glob(filepath.Join(d.kubelet, "pods", string(pod), "volumes", "kubernetes.io~empty-dir", "*"))
	if err != nil {
		return err
	}
	for _, directory := range directories {
		if err := os.WriteFile(filepath.Join(directory, "devices"), []byte(strings.Join(names, "\n")+"\n"), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (d driver) UnprepareResourceClaims(_ context.Context, claims []kubeletplugin.NamespacedObject) (map[types.UID]error, error) {
	results := map[types.UID]error{}
	for _, claim := range claims {
		results[claim.UID] = nil
	}
	return results, nil
}

func (d driver) WatchHealthStatus(context.Context, chan<- kubeletplugin.DeviceHealthReport) error {
	return kubeletplugin.ErrHealthNotSupported
}

func (d driver) HandleError(_ context.Context, err error, message string) {
	fmt.Fprintf(os.Stderr, "%s: %v\n", message, err)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	kubeconfig := flag.String("kubeconfig", "", "kubeconfig of the node or an administrator")
	node := flag.String("node", "", "name of the node")
	name := flag.String("driver", "", "name of the driver")
	kubelet := flag.String("kubelet-dir", "/var/lib/kubelet", "root directory of the kubelet")
	count := flag.Int("devices", 2, "number of devices")
	memory := flag.String("memory", "80Gi", "memory of each device")
	product := flag.String("product", "NVIDIA H100 80GB HBM3", "product of each device")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	amount, err := resource.ParseQuantity(*memory)
	if err != nil {
		return err
	}
	data := filepath.Join(*kubelet, "plugins", *name)
	if err := os.MkdirAll(data, 0o750); err != nil {
		return err
	}
	plugin, err := kubeletplugin.Start(ctx, driver{*name, *node, *kubelet},
		kubeletplugin.KubeClient(client), kubeletplugin.NodeName(*node), kubeletplugin.DriverName(*name),
		kubeletplugin.RegistrarDirectoryPath(filepath.Join(*kubelet, "plugins_registry")),
		kubeletplugin.PluginDataDirectoryPath(data), kubeletplugin.HealthService(false))
	if err != nil {
		return err
	}
	defer plugin.Stop()
	kind, capability := "gpu", "9.0.0"
	devices := make([]resourceapi.Device, *count)
	for at := range devices {
		number := int64(at)
		devices[at] = resourceapi.Device{
			Name: fmt.Sprintf("gpu-%d", at),
			Attributes: map[resourceapi.QualifiedName]resourceapi.DeviceAttribute{
				"type": {StringValue: &kind}, "productName": {StringValue: product}, "index": {IntValue: &number},
				"cudaComputeCapability": {VersionValue: &capability},
			},
			Capacity: map[resourceapi.QualifiedName]resourceapi.DeviceCapacity{"memory": {Value: amount}},
		}
	}
	pool := resourceslice.Pool{Slices: []resourceslice.Slice{{Devices: devices}}}
	if err := plugin.PublishResources(ctx, resourceslice.DriverResources{Pools: map[string]resourceslice.Pool{*node: pool}}); err != nil {
		return err
	}
	fmt.Printf("%s publishes %d devices on %s\n", *name, *count, *node)
	<-ctx.Done()
	return nil
}

package sandbox

import (
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
)

// decode reads an object as the components do, strictly or ignoring fields that they do not know.
func decode(data []byte, strict bool, add ...func(*runtime.Scheme) error) (runtime.Object, error) {
	scheme := runtime.NewScheme()
	for _, a := range add {
		if err := a(scheme); err != nil {
			return nil, err
		}
	}
	mutate := serializer.DisableStrict
	if strict {
		mutate = serializer.EnableStrict
	}
	o, _, err := serializer.NewCodecFactory(scheme, mutate).UniversalDeserializer().Decode(data, nil, nil)
	return o, err
}
